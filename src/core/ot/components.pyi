"""Arrays of components, and the text they insert: for native modules only. See ot/components.pyx."""
