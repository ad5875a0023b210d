"""json0.pyx shares nothing natively."""
