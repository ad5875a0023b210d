"""Nothing of document_push.pyx is called natively from elsewhere."""
