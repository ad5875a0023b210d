"""Operations of texts: components in arrays, apply, compose, transform, invert, and a history as one map. On errors."""
