"""`rtsr fleet`: a group of commands."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import MissingDependency
from . import app
from .options import grouped

fleet = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown")
app.add_typer(fleet, name="fleet", help="Bridges on many machines behind one address, on Ray.")

Config = Annotated[Path | None, typer.Option(help="A TOML file with [fleet] and [bridge]; options override it.")]

Gateway = Annotated[str | None, typer.Option(help="The gateway's URL; that of `listen` if not given.")]


@dataclass(frozen=True)
class FleetOptions:
    """What `rtsr fleet run` takes; what is not given is None."""

    config: Config = None
    listen: Annotated[str | None, typer.Option(help="HOST:PORT of the gateway; 127.0.0.1:8443.")] = None
    address: Annotated[str | None, typer.Option(help="HOST:PORT of a Ray cluster that runs, or auto.")] = None
    workers: Annotated[int | None, typer.Option(help="Bridges on each node; 1.")] = None
    voices: Annotated[int | None, typer.Option(help="Calls that a node carries; measured if not given.")] = None
    drain_s: Annotated[float | None, typer.Option(help="That rooms have to end before they move.")] = None


@fleet.command()
@grouped
def run(options: FleetOptions) -> None:
    """Start the gateway and a bridge on every node with voices; ends with SIGTERM and SIGINT, and every call with it.

    Examples:

        rtsr fleet run                                        # on this machine alone

        rtsr fleet run --config fleet.toml --address auto     # on the Ray cluster that this machine is the head of
    """
    service = _part("service")
    given = {name: getattr(options, name) for name in ("address", "workers", "voices", "drain_s")}
    service.run(options.config, given, {"listen": options.listen})


@fleet.command()
def capacity(
    config: Config = None, workers: Annotated[int, typer.Option(help="Bridges that are to run at once.")] = 1
) -> None:
    """Measure how many calls this machine carries and print it as Ray's resources of a node.

    Example:

        ray start --address HEAD:6379 --resources="$(rtsr fleet capacity)"
    """
    service = _part("service")
    typer.echo(json.dumps({service.VOICES: service.measured(service.make_bridge_settings(config, {}), workers)}))


@fleet.command()
def status(config: Config = None, gateway: Gateway = None) -> None:
    """Print every worker with its calls, as JSON."""
    ask = _part("ask")
    typer.echo(json.dumps(ask.ask(ask.make_settings(config, {}), gateway, "/fleet"), indent=2))


@fleet.command()
def drain(
    name: Annotated[str, typer.Argument(help="A worker or a node, as `rtsr fleet status` lists them.")],
    limit_s: Annotated[float | None, typer.Option(help="That rooms have to end before they move.")] = None,
    end: Annotated[bool, typer.Option("--end", help="Let it take rooms again.")] = False,
    config: Config = None,
    gateway: Gateway = None,
) -> None:
    """Take no new room on a worker or on all of a node, move the rooms there are, and wait until it is empty.

    Example:

        rtsr fleet drain 9752f9d6 --limit-s 60     # and then the machine may be switched off
    """
    ask = _part("ask")
    ask.drain(ask.make_settings(config, {}), gateway, name, limit_s, not end)


def _part(name: str) -> Any:
    try:
        return import_module(f"rtsr.fleet.{name}")
    except ModuleNotFoundError as error:
        raise MissingDependency(error.name or "ray", "fleet", "rtsr fleet") from error
