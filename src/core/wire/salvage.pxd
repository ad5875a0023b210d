"""Nothing of salvage.pyx is called natively from elsewhere."""
