"""What SIGHUP reads again: certificates, tokens, passwords and secrets. The event loop's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ..errors import InvalidSetting
from .authentication import Authentication
from .calls import Calls
from .config import BridgeSettings
from .listener import Listener
from .log import log_event
from .sip.exchange import Exchange
from .tls import server_context

# of the settings; of a line of SIP: sip/settings.py
FRESH = ("tls_cert", "tls_key", "tokens", "token_file", "turn_username", "turn_password", "turn_secret", "sip")


class Reload:
    """Reads the settings again and takes what is secret from them; everything else stays as the bridge was started."""

    def __init__(
        self,
        settings: BridgeSettings,
        read: Callable[[], BridgeSettings] | None,
        authentication: Authentication,
        calls: Calls,
        sip: Exchange,
    ) -> None:
        """`read` returns the settings as they are now; None where there is no file that they could stand in."""
        self._settings, self._read = settings, read
        self._authentication, self._calls, self._sip = authentication, calls, sip

    @property
    def has_something(self) -> bool:
        """Whether anything could have changed."""
        return bool(self._settings.tls_cert or self._settings.token_file or self._read or self._sip.agents)

    def now(self, listener: Listener) -> None:
        """Take what is new; where something cannot be used, go on with all that is old."""
        try:
            found = self._read() if self._read else self._settings
            settings = replace(self._settings, **{name: getattr(found, name) for name in FRESH})
            if (settings.tls_cert is None) != (self._settings.tls_cert is None):
                raise InvalidSetting("tls_cert: expected TLS as before, or a bridge that is started anew")
            tls, tokens = server_context(settings.tls_cert, settings.tls_key), settings.all_tokens()
            servers, take_lines = settings.ice_servers(), self._sip.renewed(settings.sip)
        except InvalidSetting as error:
            log_event("not-reloaded", why=error)
            return
        listener.tls = tls
        self._authentication.replace_tokens(tokens)
        self._calls.ice_servers.take_credentials(servers)
        take_lines()
        log_event("reloaded", tls=tls is not None, tokens=len(tokens))
