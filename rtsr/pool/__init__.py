"""Many streams as rows of one batch; `pool.py` is the one to open first."""

from .pool import Outputs, Pool, Ticks

__all__ = ["Outputs", "Pool", "Ticks"]
