"""Arrays of rich text components, for rich.pyx. Everything here is native; see rich/components.pyx."""
