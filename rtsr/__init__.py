"""rtsr: real-time speech super-resolution. Narrowband voice in, wideband voice out, a few milliseconds later."""

from .backend import Backend, load
from .enhance import enhance
from .errors import (
    AlreadyRunning,
    BackendFailed,
    CallRefused,
    ControlFailed,
    CorruptWeights,
    DeviceFailed,
    InvalidAudio,
    InvalidSetting,
    MissingDependency,
    OutputExists,
    PoolFull,
    Regression,
    RtsrError,
    UnknownName,
)
from .io.reblock import Reblock
from .pool import Pool
from .spec import Spec
from .stream import Stream

__version__ = "0.1.0"

__all__ = [
    "AlreadyRunning",
    "Backend",
    "BackendFailed",
    "CallRefused",
    "ControlFailed",
    "CorruptWeights",
    "DeviceFailed",
    "InvalidAudio",
    "InvalidSetting",
    "MissingDependency",
    "OutputExists",
    "Pool",
    "PoolFull",
    "Reblock",
    "Regression",
    "RtsrError",
    "Spec",
    "Stream",
    "UnknownName",
    "__version__",
    "enhance",
    "load",
]
