"""CRC-32 of bytes and of UTF-16 cells, and of two texts joined: for native modules only. See crc.pyx."""
