"""Nothing of wire_document.pyx is called natively from elsewhere."""
