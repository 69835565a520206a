"""What `rtsr fleet` is to do: a table [fleet], in the file that has the bridges' [bridge] too."""

from __future__ import annotations

import ipaddress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ..bridge.config import BridgeSettings, address, is_loopback
from ..daemon.config import check, settings_of
from ..errors import InvalidSetting

ALONE = ("rtp", "audiosocket", "sip")  # a port of their own, or a registration: of one bridge, not of many


@dataclass(frozen=True, slots=True)
class FleetSettings:
    """Everything about a fleet that is not about one of its bridges; docs/fleet.md explains each."""

    address: str | None = None  # HOST:PORT of a Ray cluster that runs, or auto; None: one is started on this machine
    workers: int = 1  # on each node
    voices: int | None = None  # of each node, without a Ray cluster that says so; None: measured at the start
    drain_s: float = 30.0  # that rooms have to end by themselves before they move
    spare: float = 0.25  # share of the calls that voices are kept free for, by asking Ray's autoscaler
    spare_voices: int = 8  # kept free at the least

    def __post_init__(self) -> None:
        bounds = {
            "workers": (1, 64),
            "voices": (1, 100_000),
            "drain_s": (0.0, 86_400.0),
            "spare": (0.0, 10.0),
            "spare_voices": (0, 100_000),
        }
        check(self, bounds)


def make_settings(path: Path | None, given: dict[str, Any]) -> FleetSettings:
    """Return the settings of a file's [fleet], overridden by those of `given` that are not None."""
    return settings_of(FleetSettings, "fleet", path, given)


def check_bridge(settings: BridgeSettings) -> None:
    """Raise `InvalidSetting` for what one bridge alone can have."""
    for name in ALONE:
        if getattr(settings, name):
            raise InvalidSetting(f"{name}: expected it in a bridge of its own, not in a fleet")


def of_worker(settings: BridgeSettings, node_host: str, gateway_host: str, voices: int) -> BridgeSettings:
    """Return the settings of one bridge of a fleet: those of the file, with `listen` the gateway's.

    It listens on a free port: of loopback where the gateway does, otherwise of its node. It trusts what the gateway
    says of a request. Raises what `BridgeSettings` raises: on other machines, no token, or neither TLS nor consent to
    do without it.
    """
    host, _ = address(settings.listen, "listen")
    alone = is_loopback(host)
    if not alone and ipaddress.ip_address(node_host).is_loopback:
        raise InvalidSetting(f"expected nodes of Ray with addresses that others reach, got {node_host}")
    own = "127.0.0.1" if alone else node_host
    proxies = (*settings.trusted_proxies, "127.0.0.1" if alone else gateway_host)
    listen = f"[{own}]:0" if ":" in own else f"{own}:0"
    calls = min(voices, settings.calls or voices)
    return replace(settings, listen=listen, calls=calls, trusted_proxies=proxies)


def as_json(settings: BridgeSettings) -> dict[str, Any]:
    """Return settings as JSON can hold them; `from_json` reads them."""
    return asdict(settings)


def from_json(given: dict[str, Any]) -> BridgeSettings:
    """Read what `as_json` wrote; raises `InvalidSetting`."""
    values: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in given.items()}
    return BridgeSettings(**values)
