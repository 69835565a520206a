"""`rtsr live`, `rtsr devices` and `rtsr ctl`."""

from __future__ import annotations

import json as jsons
import os
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from ..backend import BACKENDS
from ..daemon.config import MICROPHONE, SPEAKER, LiveSettings, make_settings
from ..errors import InvalidSetting
from . import app, parse_cutoff
from .options import grouped

SocketPath = Annotated[
    Path | None, typer.Option("--socket", help="The control socket; in $XDG_RUNTIME_DIR if not given.")
]
OPTIONAL = {"--virtual-mic": MICROPHONE, "--virtual-speaker": SPEAKER}  # options whose value may be left out


def with_default_names(arguments: list[str]) -> list[str]:
    """Return the arguments with a name behind each `--virtual-...` that has none."""
    filled: list[str] = []
    for place, argument in enumerate(arguments):
        following = arguments[place + 1] if place + 1 < len(arguments) else "-"
        filled.append(argument)
        if argument in OPTIONAL and following.startswith("-"):
            filled.append(OPTIONAL[argument])
    return filled


def as_arguments(options: dict[str, Any]) -> list[str]:
    """Return the arguments that give options of these names, paths absolute, what is None or False left out."""
    given = {name: value for name, value in options.items() if value is not None and value is not False}
    texts = {name: os.path.abspath(v) if isinstance(v, Path) else v for name, v in given.items()}
    return [f"--{name}" if text is True else f"--{name}={text}" for name, text in texts.items()]


@dataclass(frozen=True)
class LiveOptions:
    """What `rtsr live` takes; what is not given is None."""

    input: Annotated[str | None, typer.Option(help="Where the voice comes from: a name of `rtsr devices`.")] = None
    output: Annotated[str | None, typer.Option(help="Where it goes.")] = None
    virtual_mic: Annotated[
        str | None, typer.Option("--virtual-mic", metavar="[NAME]", help="Make a microphone for call programs.")
    ] = None
    virtual_speaker: Annotated[
        str | None, typer.Option("--virtual-speaker", metavar="[NAME]", help="Make a speaker for call programs.")
    ] = None
    smart: Annotated[
        bool, typer.Option("--smart", help="Programs that use the real one get it too, where WirePlumber 0.5 runs.")
    ] = False
    model: Annotated[str | None, typer.Option(help="A shipped model's name or a manifest's path.")] = None
    backend: Annotated[str | None, typer.Option(help=f"auto, {', '.join(BACKENDS)}.")] = None
    worker: Annotated[
        str | None, typer.Option(help="What processes the sound: auto, native (librtsr) or python (any backend).")
    ] = None
    config: Annotated[Path | None, typer.Option(help="A TOML file with a [live] table; options override it.")] = None
    rate: Annotated[int | None, typer.Option(help="Of both devices, in Hz.")] = None
    host: Annotated[str | None, typer.Option(help="sounddevice, pyaudio or jack.")] = None
    cutoff: Annotated[str | None, typer.Option(help="Where the received band ends: auto, or a number of Hz.")] = None
    gain: Annotated[float | None, typer.Option(help="Level of the generated band in dB.")] = None
    low_water: Annotated[float | None, typer.Option(help="The least that remains in the ring, in ms.")] = None
    metrics: Annotated[int | None, typer.Option(help="Serve /metrics and /healthz on this loopback port.")] = None
    socket: SocketPath = None
    install: Annotated[
        bool,
        typer.Option("--install", help="Run it now and at each login, so; without a device: --virtual-mic --smart."),
    ] = False
    uninstall: Annotated[bool, typer.Option("--uninstall", help="Undo --install.")] = False


@app.command()
@grouped
def live(options: LiveOptions) -> None:
    """Enhance a voice from a device to a device until Ctrl-C, SIGTERM, or `rtsr ctl stop`.

    Exit codes: 0 stopped on request, 1 something is missing or refused, 2 called wrongly.

    Examples:

        rtsr live                       # default microphone to default speaker

        rtsr live --virtual-mic         # choose "rtsr microphone" in the call program

        rtsr live --virtual-speaker     # choose "rtsr speaker" there: what others say comes out wideband

        rtsr live --install             # --virtual-mic --smart, now and at each login; --uninstall undoes it
    """
    if options.uninstall:
        _uninstall()
        return
    if options.install:
        _install(options)
        return
    settings = make_settings(options.config, _given(options))
    from ..daemon.background import Background
    from ..daemon.service import run
    from ..daemon.view import LogView, Terminal

    console = Console(stderr=True)
    if not console.is_terminal:
        with Background(LogView()) as show:
            run(settings, show)
        return
    with Terminal(console) as terminal, Background(terminal) as show:
        run(settings, show)


def _given(options: LiveOptions) -> dict[str, Any]:
    """Return the options under the names of the settings, None where one was not given."""
    same = (
        "input",
        "output",
        "virtual_mic",
        "virtual_speaker",
        "model",
        "backend",
        "worker",
        "rate",
        "host",
        "metrics",
    )
    return {
        **{name: getattr(options, name) for name in same},
        "smart": options.smart or None,
        **{"gain_db": options.gain, "low_water_ms": options.low_water},
        "socket": None if options.socket is None else str(options.socket),
        "cutoff": None if options.cutoff is None else parse_cutoff(options.cutoff),
    }


def _install(options: LiveOptions) -> None:
    """Let `rtsr live` with these options run now and at each login: as a microphone where no device is chosen."""
    from ..daemon.unit import install

    if not (options.config or options.input or options.output or options.virtual_mic or options.virtual_speaker):
        options = replace(options, virtual_mic=MICROPHONE, smart=True)
    settings = make_settings(options.config, _given(options))
    given = {field.name.replace("_", "-"): getattr(options, field.name) for field in fields(options)}
    del given["install"], given["uninstall"]
    if options.model and options.model.endswith(".json"):  # a manifest's path, and not one of the shipped names
        given["model"] = Path(options.model)
    lines = install(["live", *as_arguments(given)])
    _say([*lines, *_what_to_choose(settings), "to undo this: rtsr live --uninstall"])


def _what_to_choose(settings: LiveSettings) -> list[str]:
    """Say, of what was installed, what is to be chosen in the programs."""
    from ..io.smart import find

    version, reason = find() if settings.smart else (None, None)
    if version:
        return [
            f"choose nothing in the call program: WirePlumber {version} has smart filters, and links whatever uses the "
            "real device through rtsr",
        ]
    named = {"microphone": settings.virtual_mic, "speaker": settings.virtual_speaker}
    lines = [f"no smart filter: {reason}"] if reason else []
    return [*lines, *(f'choose "{name}" as the {kind} of the call program' for kind, name in named.items() if name)]


def _uninstall() -> None:
    from ..daemon.unit import uninstall

    _say(uninstall() or ["nothing is installed"])


def _say(lines: list[str]) -> None:
    for line in lines:
        Console().print(line, soft_wrap=True, markup=False, highlight=False)


@app.command()
def devices(json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
    """List what `rtsr live` can capture from and play to; * marks the defaults."""
    from ..io.devices import list_devices

    found = list_devices()
    if json:
        print(jsons.dumps([d.as_dict() for d in found], indent=2))
        return
    table = Table("", "name", "description", "host", "channels", "rate")
    for kind in ("input", "output"):
        for d in (d for d in found if d.kind == kind):
            table.add_row("*" if d.default else "", d.name, d.description, d.host, str(d.channels), f"{d.rate} Hz")
        table.add_section()
    for column in table.columns:
        column.overflow = "fold"
    Console().print(table)
    if not found:
        raise InvalidSetting("no device: connect one, or start a sound server (systemctl --user start pipewire-pulse)")


@app.command(context_settings={"ignore_unknown_options": True})  # so that -3 is a number
def ctl(
    command: Annotated[str, typer.Argument(help="bypass, mute, gain, model, stats or stop.")],
    value: Annotated[str | None, typer.Argument(help="on, off or toggle; dB; a model's name.")] = None,
    socket: SocketPath = None,
) -> None:
    """Steer a running `rtsr live`.

    Examples:

        rtsr ctl bypass toggle

        rtsr ctl gain -3

        rtsr ctl model voice-16k

        rtsr ctl stats
    """
    from ..daemon.control import default_socket, request

    sent: str | float | None = value
    if command == "gain" and value is not None:
        try:
            sent = float(value)
        except ValueError:
            raise InvalidSetting(f"gain: expected a number of dB, got {value!r}") from None
    answer = request(socket or default_socket(), command, sent)
    print(jsons.dumps(answer, indent=2) if command == "stats" else jsons.dumps(answer))


@app.command()
def latency(
    loop: Annotated[bool, typer.Option("--loop", help="Play a probe and time its way back.")] = False,
    output: Annotated[str | None, typer.Option(help="Where the probe goes.")] = None,
    input: Annotated[str | None, typer.Option(help="Where it comes back.")] = None,
    socket: SocketPath = None,
) -> None:
    """Show where the latency of a running `rtsr live` goes, and with --loop measure it.

    Without a running one, --loop measures the devices alone, joined by a cable or by a monitor.

    Example:

        rtsr latency --loop --output A --input B.monitor    # rtsr live --input A.monitor --output B runs
    """
    from ..daemon.control import SUPPORTED, default_socket, request
    from ..daemon.probe import round_trip, table

    path = socket or (default_socket() if SUPPORTED or not loop else None)
    running = request(path, "stats") if path and (path.exists() or not loop) else {}
    trip = round_trip(output, input) if loop else None
    shown = Table(title="Latency", title_justify="left", show_header=False)
    for row in table(trip, running):
        shown.add_row(*row)
    Console().print(shown)
