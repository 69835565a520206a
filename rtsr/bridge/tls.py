"""Certificates and keys, for HTTP and SIP alike."""

from __future__ import annotations

import ssl
from pathlib import Path

from ..errors import InvalidSetting


def load_chain(context: ssl.SSLContext, cert: str | Path, key: str | Path) -> None:
    """Load a certificate and its key into a context; raises `InvalidSetting`, also for a key that is encrypted."""

    def password() -> str:  # OpenSSL would ask for it on the terminal
        raise InvalidSetting(
            f"cannot use {key}: expected a key that is not encrypted; openssl pkey -in ENCRYPTED -out KEY writes one"
        )

    try:
        context.load_cert_chain(cert, key, password)
    except (OSError, ssl.SSLError) as error:
        raise InvalidSetting(f"cannot use {cert} with {key}: {error}") from error


def server_context(cert: str | Path | None, key: str | Path | None) -> ssl.SSLContext | None:
    """Return the context of a server, None without a certificate; raises `InvalidSetting`."""
    if cert is None or key is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    load_chain(context, cert, key)
    return context


def pinned_context(cert: str | Path) -> ssl.SSLContext:
    """Return the context of a client that accepts this very certificate, at whatever address; raises `OSError`."""
    context = ssl.create_default_context(cafile=str(cert))
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context
