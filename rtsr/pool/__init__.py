"""Many streams as rows of one batch; `pool.py` is the one to open first."""

from .outputs import Outputs
from .pool import Pool, Ticks

__all__ = ["Outputs", "Pool", "Ticks"]
