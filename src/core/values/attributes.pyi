"""JSON values from outside, and attribute maps, for rich.pyx. Everything here is native; see attributes.pyx."""
