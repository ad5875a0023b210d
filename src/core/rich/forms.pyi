"""What a delta looks like elsewhere, for rich.pyx. Everything here is native; see rich/forms.pyx."""
