"""What `rtsr live` is to do: every setting, its bounds, and the TOML file that it may stand in."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

from ..backend.native import NAMES as NATIVE
from ..errors import InvalidSetting

HOSTS = ("sounddevice", "pyaudio", "jack")
T = TypeVar("T")
WORKERS = ("auto", "native", "python")
OnEvent = Callable[[str, str], None]  # takes an event: its kind, and one line for people
BLOCK_MS = {"sounddevice": 2.5, "pyaudio": 2.5, "jack": 4 / 3}  # where nothing is set
LOW_WATER_MS = {"sounddevice": 8.0, "pyaudio": 7.0, "jack": 7.0}  # likewise; all of JACK stalls at once
TABLES = ("live", "bridge", "fleet")  # of a configuration file
MICROPHONE, SPEAKER = "rtsr microphone", "rtsr speaker"


@dataclass(frozen=True, slots=True)
class LiveSettings:
    """Everything a session is made from. A name of None means the default device; see docs/operations.md."""

    input: str | None = None
    output: str | None = None
    virtual_mic: str | None = None
    virtual_speaker: str | None = None
    smart: bool = False  # programs that use the real device get the virtual one, where WirePlumber has smart filters
    model: str = "voice-16k"
    backend: str = "auto"
    worker: str = "auto"  # native: librtsr, outside the interpreter; python: any backend; auto: native if it can be
    host: str = "sounddevice"
    rate: int = 48_000
    block_ms: float | None = None  # what a device hands over at a time; None: what suits the host
    low_water_ms: float | None = None  # the least that remains in the ring, so that a late worker is not heard
    cutoff: float | str = "auto"
    gain_db: float = 0.0
    sleep_db: float = -70.0  # below this, relative to full scale, the network does not run
    metrics: int | None = None
    socket: str | None = None

    def __post_init__(self) -> None:
        bounds = {
            "rate": (16_000, 192_000),
            "block_ms": (1.0, 100.0),
            "low_water_ms": (1.0, 300.0),
            "gain_db": (-120.0, 24.0),
            "sleep_db": (-200.0, 0.0),
            "metrics": (0, 65_535),
        }
        check(self, bounds)
        self._check_choice("host", HOSTS)
        self._check_choice("worker", WORKERS)
        if self.smart and not (self.virtual_mic or self.virtual_speaker):
            raise InvalidSetting("smart: expected virtual_mic or virtual_speaker beside it, got neither")
        if self.worker == "native" and self.backend not in ("auto", *NATIVE):
            raise InvalidSetting(
                f"backend: expected {', '.join(NATIVE)} or auto with the native worker, got {self.backend!r}"
            )
        if isinstance(self.cutoff, str) and self.cutoff != "auto":
            raise InvalidSetting(f"cutoff: expected 'auto' or a number of Hz, got {self.cutoff!r}")

    def _check_choice(self, name: str, choices: tuple[str, ...]) -> None:
        value = getattr(self, name)
        if value not in choices:
            close = get_close_matches(value, choices, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise InvalidSetting(f"{name}: expected one of {', '.join(choices)}, got {value!r}{hint}")

    @property
    def block(self) -> int:
        """What a device hands over at a time, in samples."""
        ms = BLOCK_MS[self.host] if self.block_ms is None else self.block_ms
        return round(ms * self.rate / 1000)

    @property
    def low_water(self) -> int:
        """The least that remains in the ring, in samples."""
        ms = LOW_WATER_MS[self.host] if self.low_water_ms is None else self.low_water_ms
        return round(ms * self.rate / 1000)

    def paths(self) -> dict[str, LiveSettings]:
        """Return one set of settings for each path that sound takes, by its name."""
        roles = {
            "microphone": replace(self, virtual_speaker=None, output=None) if self.virtual_mic else None,
            "speaker": replace(self, virtual_mic=None, input=None) if self.virtual_speaker else None,
        }
        return {n: s for n, s in roles.items() if s} or {"voice": self}


@dataclass(frozen=True, slots=True)
class Launch:
    """How the process of a path begins, beside its settings."""

    mark: str  # what its virtual device is marked with
    again: bool = False  # one ran before: where its devices are absent, this one waits for them
    commands: dict[str, Any] = field(default_factory=dict)  # commands that the previous process got, to be done first


def check(settings: Any, bounds: dict[str, tuple[float, float]]) -> None:
    """Raise `InvalidSetting` where a field of a dataclass is not of its type, or beyond its bounds."""
    for one in fields(settings):
        _check_type(one.name, getattr(settings, one.name), str(one.type))
    for name, (least, most) in bounds.items():
        value = getattr(settings, name)
        if value is not None and not least <= value <= most:
            raise InvalidSetting(f"{name}: expected {least:g} to {most:g}, got {value}")


def _check_type(name: str, value: Any, kind: str) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    fits = {
        "bool": isinstance(value, bool),
        "str": isinstance(value, str),
        "int": isinstance(value, int) and number,
        "float": number,
        "tuple[str, ...]": isinstance(value, tuple) and all(isinstance(v, str) for v in value),
        "tuple[dict[str, Any], ...]": isinstance(value, tuple) and all(isinstance(v, dict) for v in value),
        "dict[str, str]": isinstance(value, dict) and all(isinstance(v, str) for v in value.values()),
        "None": value is None,
    }
    kinds = kind.split(" | ")
    if not any(fits[k] for k in kinds):
        raise InvalidSetting(f"{name}: expected {' or '.join(k for k in kinds if k != 'None')}, got {value!r}")


def read_config(path: Path, kind: type[Any], name: str) -> dict[str, Any]:
    """Read the table `name` of a TOML file; raises `InvalidSetting` for what is no field of `kind`."""
    try:
        content = tomllib.loads(path.read_text())
    except OSError as error:
        raise InvalidSetting(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:  # of the text, of the TOML, of a number with too many digits
        raise InvalidSetting(f"{path}: is no TOML: {error}") from error
    _refuse_unknown(path, content, list(TABLES), "table")
    table = content.get(name, {})
    if not isinstance(table, dict):
        raise InvalidSetting(f"{path}: expected a table [{name}], got {table!r}")
    _refuse_unknown(path, table, [f.name for f in fields(kind)], "setting")
    return {key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}


def _refuse_unknown(path: Path, given: dict[str, Any], known: list[str], what: str) -> None:
    for name in given:
        if name not in known:
            close = get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(known)}"
            raise InvalidSetting(f"{path}: no {what} named {name!r}; {hint}")


def make_settings(path: Path | None, given: dict[str, Any]) -> LiveSettings:
    """Return the settings of a file, overridden by those of `given` that are not None."""
    return settings_of(LiveSettings, "live", path, given)


def settings_of(kind: type[T], name: str, path: Path | None, given: dict[str, Any]) -> T:
    """Return a dataclass of settings from a file's table `name`, overridden by those of `given` that are not None."""
    table = read_config(path, kind, name) if path else {}
    try:
        return kind(**{**table, **{n: v for n, v in given.items() if v is not None}})
    except InvalidSetting as error:
        raise InvalidSetting(f"{path}: {error}" if path else str(error)) from None
    except ValueError as error:  # what Python raises for a number that is too long to be printed
        raise InvalidSetting(f"{path}: expected shorter numbers: {error}") from error
