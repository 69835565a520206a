"""A dialog: what both ends of a call know of it (RFC 3261, section 12)."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field

from ..config import Network, contains
from .fields import NameAddress, Uri
from .message import Request, Response
from .path import Path, Place
from .paths import Paths
from .transactions import new_branch

AGENT = "rtsr"
ALLOW = "INVITE, ACK, BYE, CANCEL, OPTIONS, UPDATE"
HOPS = "70"

Key = tuple[str, str, str]  # Call-ID, our tag, the peer's


def new_tag() -> str:
    """Return a tag that cannot be guessed."""
    return secrets.token_hex(8)


def via_of(local: Place, transport: str) -> str:
    """Return a Via of ours with a new branch."""
    return f"SIP/2.0/{transport.upper()} {bracketed(local[0])}:{local[1]};branch={new_branch()};rport"


def contact_of(local: Place, transport: str, user: str = "") -> str:
    """Return our Contact."""
    which = "" if transport == "udp" else f";transport={transport}"
    return f"<sip:{user + '@' if user else ''}{bracketed(local[0])}:{local[1]}{which}>"


def bracketed(host: str) -> str:
    """Return a host as it stands in a URI."""
    return f"[{host}]" if ":" in host else host


@dataclass(eq=False)
class Dialog:
    """One dialog. `local` and `remote` are From and To of our requests, with their tags."""

    call_id: str
    local: NameAddress
    remote: NameAddress
    target: Uri  # the peer's Contact
    route: list[str]
    path: Path  # that our requests take
    place: Place  # that the peer reaches us at
    local_number: int = field(default_factory=lambda: secrets.randbelow(1 << 16) + 1)
    remote_number: int = 0

    @property
    def key(self) -> Key:
        """What names it among all."""
        return self.call_id, self.local.tag, self.remote.tag

    @property
    def contact(self) -> str:
        """Our Contact."""
        return contact_of(self.place, self.path.transport)

    def request(
        self, method: str, headers: Iterable[tuple[str, str]] = (), body: bytes = b"", *, number: int | None = None
    ) -> Request:
        """Return the next request of ours; an ACK has the `number` of its INVITE."""
        if number is None:
            self.local_number += 1
            number = self.local_number
        made = [
            ("via", via_of(self.place, self.path.transport)),
            ("max-forwards", HOPS),
            *(("route", value) for value in self.route),
            ("from", str(self.local)),
            ("to", str(self.remote)),
            ("call-id", self.call_id),
            ("cseq", f"{number} {method}"),
            ("user-agent", AGENT),
        ]
        if method in ("INVITE", "UPDATE"):
            made += [("contact", self.contact), ("allow", ALLOW), ("supported", "timer")]
        if body:
            made.append(("content-type", "application/sdp"))
        return Request([*made, *headers], body, method, self.target)

    def takes(self, request: Request) -> bool:
        """Note the number of a request of the peer's; False for one that is not higher than the one before."""
        number = request.sequence[0]
        if number <= self.remote_number:
            return False
        self.remote_number = number
        return True


def of_request(request: Request, tag: str, path: Path, place: Place) -> Dialog:
    """Return the dialog that our answer to an INVITE begins; raises `ValueError` where it names no Contact."""
    contact, to = request.contact, request.recipient
    if contact is None or not contact.uri.host:
        raise ValueError("expected a Contact")
    local = NameAddress(to.uri, to.name, {**to.params, "tag": tag})
    route = request.all("record-route")
    return Dialog(
        request.call_id, local, request.sender, contact.uri, route, path, place, remote_number=request.sequence[0]
    )


def of_response(request: Request, response: Response, path: Path, place: Place) -> Dialog:
    """Return the dialog that a 2xx to our INVITE begins."""
    contact = response.contact
    target = contact.uri if contact and contact.uri.host else request.uri
    route = response.all("record-route")[::-1]
    number = request.sequence[0]
    return Dialog(request.call_id, request.sender, response.recipient, target, route, path, place, local_number=number)


async def path_of(dialog: Dialog, paths: Paths, trusted: tuple[Network, ...]) -> Path:
    """Return the path for requests of ours within a dialog; raises `OSError`.

    It is to the first of the route or to the peer's Contact, where that is the host that the dialog came from or one
    of the trusted ones. It is to where the dialog came from otherwise: a peer behind NAT does not know its own address,
    and nobody is to make us send to others.
    """
    if dialog.path.transport != "udp" and dialog.path.is_open:
        return dialog.path
    uri = NameAddress.read(dialog.route[0]).uri if dialog.route else dialog.target
    host, port = uri.place
    came_from = dialog.path.peer[0]
    if host == came_from or contains(trusted, host):
        return await paths.to((host, port), dialog.path.transport)
    return await paths.to(dialog.path.peer, dialog.path.transport)
