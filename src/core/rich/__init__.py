"""Rich text: operations as Quill's, a text beside runs of attributes. A document type."""
