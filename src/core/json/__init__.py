"""JSON documents: json0, made strict. A document type."""
