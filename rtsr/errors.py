"""The one exception tree: every error that rtsr raises on purpose is an `RtsrError` that says what to do."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class RtsrError(Exception):
    """Base of everything rtsr raises on purpose; the command line prints it as one line."""


class InvalidAudio(RtsrError):
    """Audio that cannot be used: wrong shape, rate, type, or a file that cannot be read or written."""


class InvalidSetting(RtsrError):
    """A setting outside what it may be: says what was expected and what was given."""


class OutputExists(RtsrError):
    """The output is there already and was not to be overwritten."""


class CorruptWeights(RtsrError):
    """A weight file does not match the hash or the layout that its manifest states."""


class BackendFailed(RtsrError):
    """A backend could not be opened on this machine."""


class PoolFull(RtsrError):
    """A pool has as many streams as its limit; close one, or open the pool with a higher limit."""


class CallRefused(RtsrError):
    """A call that was made was not answered; `status` is that of SIP (RFC 3261, section 21)."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"{status} {reason}")
        self.status = status


class Regression(RtsrError):
    """A benchmark's figure is worse than those stored for this kind of machine, beyond noise."""


class MissingDependency(RtsrError):
    """An optional package is not installed; names the extra that brings it, or None where it is to be built."""

    def __init__(self, package: str, extra: str | None, purpose: str) -> None:
        how = f"install it with  pip install 'rtsr[{extra}]'" if extra else "build it as native/README.md says"
        super().__init__(f"{purpose} needs {package}: {how}")
        self.package = package
        self.extra = extra


class UnknownName(RtsrError):
    """A model or backend that does not exist; lists those there are."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        close = get_close_matches(name, names, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        super().__init__(f"no {kind} named {name!r}.{hint} There are: {', '.join(names) or 'none'}")
        self.known = names


class DeviceFailed(RtsrError):
    """An audio device or a sound server is missing, busy, or refused what was asked of it."""


class AlreadyRunning(RtsrError):
    """Another rtsr holds the socket, the virtual devices or the folder to write to."""


class ControlFailed(RtsrError):
    """A running rtsr could not be reached, or refused a command."""
