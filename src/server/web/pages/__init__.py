"""The demo page and what it loads. Files only; ``codemirror.js`` is bundled at build time by tools/browser."""
