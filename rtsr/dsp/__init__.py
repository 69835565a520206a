"""Signal processing in numpy and numba: no threads, no torch, no files."""
