"""differences.pyx shares nothing natively."""
