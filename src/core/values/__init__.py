"""JSON values as documents and envelopes hold them: checked, compared, hashed; attributes; edits of the strings in them. On text."""
