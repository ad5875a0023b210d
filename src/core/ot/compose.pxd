"""compose.pyx shares nothing natively."""
