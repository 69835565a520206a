"""What `rtsr fleet` is to do: a table [fleet], in the file that has the bridges' [bridge] too."""

from __future__ import annotations

import ipaddress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ..bridge.config import BridgeSettings, address, is_loopback
from ..bridge.sip.bridge_line import ANY
from ..bridge.sip.dialog import bracketed
from ..bridge.sip.settings import SipSettings, read_tables
from ..daemon.config import check, settings_of
from ..errors import InvalidSetting
from .sip_routes import NEW, Routes, Way

OF_GATEWAY = ("listen", "advertise", "accounts", "register", "proxies", "outbound_proxy")  # of a line, and no worker's
ALONE = ("rtp", "audiosocket")  # a port of their own: of one bridge, not of many


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
    for table in read_tables(settings.sip):
        host, port = address(table.listen, "sip: listen")
        if port == 0:
            raise InvalidSetting(
                f"sip: listen: expected a port that workers know before it is opened, got {table.listen}"
            )
        if is_loopback(host) and not is_loopback(address(settings.listen, "listen")[0]):
            raise InvalidSetting(f"sip: listen: expected an address that other nodes reach, got {table.listen}")


def of_worker(
    settings: BridgeSettings, node_host: str, gateway_host: str, voices: int, name: str, key: bytes
) -> BridgeSettings:
    """Return the settings of one bridge of a fleet: those of the file, with `listen` the gateway's.

    It listens on a free port: of loopback where the gateway does, otherwise of its node. It trusts what the gateway
    says of a request. `key` signs the route of its requests of SIP through the gateway. Raises what `BridgeSettings`
    raises: on other machines, no token, or neither TLS nor consent to do without it.
    """
    host, _ = address(settings.listen, "listen")
    alone = is_loopback(host)
    if not alone and ipaddress.ip_address(node_host).is_loopback:
        raise InvalidSetting(f"expected nodes of Ray with addresses that others reach, got {node_host}")
    own, gateway = ("127.0.0.1", "127.0.0.1") if alone else (node_host, gateway_host)
    calls = min(voices, settings.calls or voices)
    rtp_host = own if is_loopback(settings.rtp_host) else settings.rtp_host
    way, routes = Way(NEW, name), Routes(key)
    lines = zip(settings.sip, read_tables(settings.sip), strict=True)
    sip = tuple(_line_of_worker(table, line, gateway, way, routes) for table, line in lines)
    proxies = (*settings.trusted_proxies, gateway)
    listen = f"{bracketed(own)}:0"
    return replace(settings, listen=listen, calls=calls, trusted_proxies=proxies, rtp_host=rtp_host, sip=sip)


def _line_of_worker(table: dict[str, Any], line: SipSettings, gateway: str, way: Way, routes: Routes) -> dict[str, Any]:
    """Return a table [[bridge.sip]] as a worker has it: all that it takes and sends goes through the gateway's line.

    The gateway asks for passwords and registers. Where it listens on the network, so does the worker, on all addresses:
    in SDP stands the one that the telephone's network is reached by.
    """
    host, port = address(line.listen, "listen")
    everywhere = "[::]" if ":" in host else "0.0.0.0"
    known = gateway if host in ANY else host
    kept = {name: value for name, value in table.items() if name not in OF_GATEWAY}
    listen = f"{host if is_loopback(host) else everywhere}:0"
    outbound = routes.uri(way, (known, port), "tls" if line.transport == "tls" else "udp")
    made = {"listen": listen, "proxies": sorted({gateway, known}), "outbound_proxy": outbound}
    return {**kept, **made, **({"tls_ca": line.tls_cert} if line.tls_cert else {})}


def as_json(settings: BridgeSettings) -> dict[str, Any]:
    """Return settings as JSON can hold them; `from_json` reads them."""
    return asdict(settings)


def from_json(given: dict[str, Any]) -> BridgeSettings:
    """Read what `as_json` wrote; raises `InvalidSetting`."""
    values: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in given.items()}
    return BridgeSettings(**values)
