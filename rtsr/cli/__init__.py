"""The command line: every error of ours is one line that says what to do."""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ..backend import BACKENDS, GPU_BACKENDS
from ..errors import InvalidSetting, RtsrError

errors = Console(stderr=True)

Model = Annotated[str, typer.Option(help="A shipped model's name (`rtsr models` lists them) or a manifest's path.")]
BACKEND_NAMES = f"auto, {', '.join(BACKENDS)}; on a GPU {', '.join(GPU_BACKENDS)}."
BackendName = Annotated[str, typer.Option("--backend", help=BACKEND_NAMES)]
CutoffText = Annotated[str, typer.Option("--cutoff", help="Where the received band ends: auto, or a number of Hz.")]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


def _version(asked: bool) -> None:
    if not asked:
        return
    try:
        typer.echo(f"rtsr {importlib.metadata.version('rtsr')}")
    except importlib.metadata.PackageNotFoundError:
        typer.echo("rtsr, a checkout that is not installed")
    raise typer.Exit


@app.callback()
def rtsr(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """Real-time speech super-resolution: narrowband voice in, wideband voice out, 10 ms later."""


def register() -> None:
    """Add every command to `app`: each module of commands does so when it is imported."""
    from . import bench, bridge, commands, enhance, evaluate, fleet, listen, live, plugins, train, tray  # noqa: F401


def main() -> None:
    """Run the command line; exit code 1 where something failed, 2 where it was called wrongly, 130 on Ctrl-C."""
    register()
    from . import live

    sys.argv[1:] = live.with_default_names(sys.argv[1:])
    try:
        app()
    except RtsrError as error:
        fail(str(error))
        sys.exit(1)
    except OSError as error:
        if error.filename is None:
            raise
        fail(f"{error.filename}: {error.strerror}")  # a full disk, no permission: what the user can repair
        sys.exit(1)


def fail(message: str) -> None:
    """Print one error line to stderr."""
    errors.print("[bold red]error:[/] ", end="")
    errors.print(printable(message), markup=False, highlight=False, soft_wrap=True)


def printable(text: str) -> str:
    """Return a text without control characters and what a terminal cannot show: file names may hold any bytes."""
    return "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in text)


def make_folder(folder: Path) -> Path:
    """Make the folder that results will go to, before the work that fills it; raises `InvalidSetting`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidSetting(f"expected a folder to write to, got {folder}, which cannot be made") from error
    return folder


def parse_cutoff(text: str) -> float | str:
    """Read "auto" or a number of Hz; raises `InvalidSetting`."""
    if text == "auto":
        return text
    try:
        return float(text)
    except ValueError:
        raise InvalidSetting(f"expected --cutoff auto or a number of Hz, got {text!r}") from None
