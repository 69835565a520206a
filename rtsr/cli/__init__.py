"""The command line: every error of ours is one line that says what to do."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.console import Console

from ..errors import InvalidSetting, RtsrError

errors = Console(stderr=True)

Model = Annotated[str, typer.Option(help="A shipped model's name (`rtsr models` lists them) or a manifest's path.")]
BackendName = Annotated[
    str, typer.Option("--backend", help="auto, native, ort, eager, null; on a GPU graph, ort-cuda, ort-tensorrt.")
]
CutoffText = Annotated[str, typer.Option("--cutoff", help="Where the received band ends: auto, or a number of Hz.")]

app = typer.Typer(
    help="Real-time speech super-resolution: narrowband voice in, wideband voice out, 10 ms later.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


def main() -> None:
    """Run the command line; exit code 1 where something failed, 2 where it was called wrongly, 130 on Ctrl-C."""
    from . import bench, bridge, commands, enhance, evaluate, listen, live, train  # noqa: F401  each registers its commands

    sys.argv[1:] = live.with_default_names(sys.argv[1:])
    try:
        app()
    except RtsrError as error:
        fail(str(error))
        sys.exit(1)


def fail(message: str) -> None:
    """Print one error line to stderr."""
    errors.print("[bold red]error:[/] ", end="")
    errors.print(message, markup=False, highlight=False, soft_wrap=True)


def parse_cutoff(text: str) -> float | str:
    """Read "auto" or a number of Hz; raises `InvalidSetting`."""
    if text == "auto":
        return text
    try:
        return float(text)
    except ValueError:
        raise InvalidSetting(f"expected --cutoff auto or a number of Hz, got {text!r}") from None
