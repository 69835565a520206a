"""What there is to capture from and to play to: the sound server's endpoints by name, and PortAudio's devices."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

from ..errors import DeviceFailed, MissingDependency, UnknownName

Kind = Literal["input", "output"]
OWNER = "rtsr.owner"  # the property of what rtsr has made
PULSE = "pulse"  # the host of what a PulseAudio or PipeWire server offers, and ALSA's name for the way there


@dataclass(frozen=True, slots=True)
class Device:
    """One endpoint of one direction: `name` selects it, `index` is PortAudio's way to it."""

    name: str
    description: str
    kind: Kind
    host: str
    index: int
    channels: int
    rate: int
    default: bool
    made_by_rtsr: bool = False

    def as_dict(self) -> dict[str, object]:
        """Return the fields, for JSON."""
        return asdict(self)


def portaudio() -> Any:
    """Import sounddevice; raises `MissingDependency` also where PortAudio itself is not installed."""
    try:
        import sounddevice
    except (ImportError, OSError) as error:  # OSError: the package is there, the library it loads is not
        what = "PortAudio (Debian: apt-get install libportaudio2) and sounddevice"
        raise MissingDependency(what if isinstance(error, OSError) else "sounddevice", "live", "live audio") from error
    return sounddevice


def _server_errors() -> tuple[type[Exception], ...]:
    """What pulsectl raises where a server goes; these have no base of their own, and one has no public name."""
    import pulsectl
    from pulsectl._pulsectl import LibPulse

    return pulsectl.PulseError, pulsectl.PulseDisconnected, pulsectl.PulseLoopStop, LibPulse.CallError


@contextlib.contextmanager
def server(name: str = "rtsr") -> Iterator[Any]:
    """Connect to the user's PulseAudio or PipeWire server under a name; gives a pulsectl.Pulse, closed at the end.

    Raises `DeviceFailed` where there is none, and where it goes or refuses within the block.
    """
    try:
        import pulsectl
    except ImportError as error:
        raise DeviceFailed("a sound server is reached through pulsectl: pip install 'rtsr[live]'") from error
    try:
        with pulsectl.Pulse(name, connect=True) as pulse:
            yield pulse
    except _server_errors() as error:
        raise DeviceFailed(f"no PulseAudio or PipeWire server answers ({error or type(error).__name__})") from error


def list_devices() -> list[Device]:
    """Return every endpoint of the sound server, and every PortAudio device that is no way to that server.

    Raises `DeviceFailed` where PortAudio cannot look.
    """
    sd = portaudio()
    try:
        refresh(sd)
        hosts = [h["name"] for h in sd.query_hostapis()]
        raw = [(i, d, hosts[d["hostapi"]]) for i, d in enumerate(sd.query_devices())]
    except sd.PortAudioError as error:
        raise DeviceFailed(f"PortAudio cannot list devices: {error}") from error
    way = next((i for i, d, host in raw if host == "ALSA" and d["name"] == PULSE), None)
    served = list_served(way) if way is not None else []
    if served:
        raw = [r for r in raw if r[2] != "ALSA" or r[1]["name"] not in (PULSE, "default")]
    kinds: tuple[Kind, ...] = ("input", "output")
    return served + [_plain(sd, i, d, host, kind) for kind in kinds for i, d, host in raw if d[f"max_{kind}_channels"]]


def refresh(sd: Any) -> None:
    """Make PortAudio look for devices anew; only while no stream is open."""
    sd._terminate()
    sd._initialize()


def _plain(sd: Any, index: int, raw: dict[str, Any], host: str, kind: Kind) -> Device:
    default = sd.query_hostapis(raw["hostapi"])[f"default_{kind}_device"] == index
    rate, channels = int(raw["default_samplerate"]), raw[f"max_{kind}_channels"]
    return Device(raw["name"], raw["name"], kind, host, index, channels, rate, default)


def list_served(way: int) -> list[Device]:
    """Return the sound server's endpoints, to be reached through PortAudio's device `way`; none where none answers."""
    try:
        with server() as pulse:
            about = pulse.server_info()
            sinks, sources = pulse.sink_list(), pulse.source_list()
    except DeviceFailed:
        return []
    ours = {s.name for s in sinks if OWNER in s.proplist}
    found = []
    ends: tuple[tuple[Kind, list[Any], str], ...] = (
        ("input", sources, about.default_source_name),
        ("output", sinks, about.default_sink_name),
    )
    for kind, there, default in ends:
        for e in there:
            virtual = OWNER in e.proplist or e.name.removesuffix(".monitor") in ours
            size, rate = e.channel_count, e.sample_spec.rate
            found.append(Device(e.name, e.description, kind, PULSE, way, size, rate, e.name == default, virtual))
    return found


def find_device(wanted: str | None, kind: Kind, devices: list[Device]) -> Device:
    """Return the device of that name, or whose name or description holds it; the default where it is None.

    A device that rtsr has made itself is never the default: its input would be its own output.

    Raises `UnknownName` with the names there are, and `DeviceFailed` where there is no device at all.
    """
    there = [d for d in devices if d.kind == kind]
    if not there:
        raise DeviceFailed(
            f"no {kind} device: connect one, or start a sound server (systemctl --user start pipewire-pulse, "
            "or pulseaudio --start); `rtsr devices` lists what there is"
        )
    if wanted is None:
        real = [d for d in there if not d.made_by_rtsr] or there
        return next((d for d in real if d.default), real[0])
    exact = [d for d in there if wanted in (d.name, d.description)]
    close = exact or [d for d in there if wanted.lower() in f"{d.name} {d.description}".lower()]
    if len(close) == 1 or exact:
        return close[0]
    if close:
        raise DeviceFailed(f"{wanted!r} fits {len(close)} {kind} devices: {', '.join(d.name for d in close)}; name one")
    raise UnknownName(f"{kind} device", wanted, [d.name for d in there])
