"""What the generator asks of Linux. For Cython only. See system.pyx."""
