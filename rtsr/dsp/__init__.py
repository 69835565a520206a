"""Signal processing in numpy and numba: no threads, no torch, no files."""

from .cache import place_cache

place_cache()
