"""Where popproxy listens, and what to set in a mail client: said at the start."""

from __future__ import annotations

from collections.abc import Sequence

from popproxy.cli.diagnostics import Diagnostics
from popproxy.relay import Listener, Url
from popproxy.tls.settings import ListenerTls

_SECURITY = {"pop3": "no encryption", "pop3+stls": "STARTTLS", "pop3s": "SSL/TLS"}
"""What mail clients call it in their settings."""


def say_waiting(diagnostics: Diagnostics, url: Url, tls: ListenerTls) -> None:
    """Tell a person what to set in a mail client, in the words of its settings.

    Args:
        diagnostics: Where to speak.
        url: Where clients connect.
        tls: How TLS is spoken with them.
    """
    diagnostics.announce(
        "waiting",
        f"waiting for mail clients: POP3, server {url.host}, port {url.port},"
        f" {_SECURITY[url.scheme]}; Ctrl-C ends",
    )
    if url.scheme != "pop3" and tls.certificate is None:
        diagnostics.announce(
            "trust",
            "they have to trust popproxy's local authority: `popproxy help trust` tells how",
        )


def say_listening(diagnostics: Diagnostics, listeners: Sequence[Listener]) -> None:
    """Say where popproxy listens; programs that start it read these lines."""
    for listener in listeners:
        diagnostics.announce(
            "listening", f"listening on {listener.url}", always=True, url=str(listener.url)
        )
