"""What is changed in the conversations of a route, by how its legs speak (P28)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal

from popproxy.relay.lists import Edits
from popproxy.relay.settings import Announce, StlsMode
from popproxy.relay.url import Scheme

Stls = Literal["forward", "upgrade", "answer", "refuse"]
"""What becomes of a client's STLS: the server answers it, and what that means is none of our
business; the server answers it, and both legs are put under TLS; popproxy answers it, and puts the
client's leg under TLS; popproxy refuses it."""


_NONE = Edits()

ADDED: dict[Announce, str] = {
    "none": "",
    "v1": "proxy-header-added",
    "v2": "proxy-header-added",
    "xclient": "xclient-added",
}
"""What it is called in records that the server is told who the client is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What is changed while a session's legs stay as they are.

    Attributes:
        stls: What becomes of a client's STLS.
        require_stls: Whether a client has to use it before it logs in.
        edits: What is changed in lists.
    """

    stls: Stls = "forward"
    require_stls: bool = False
    edits: Edits = _NONE

    @property
    def names(self) -> list[str]:
        """What they are called in a session's first record."""
        names = []
        if self.edits.remove_stls:
            names.append("stls-removed")
        if self.edits.add_stls:
            names.append("stls-added")
        if self.stls == "answer":
            names.append("stls-answered")
        if self.stls == "refuse":
            names.append("stls-refused")
        if self.edits.remove_channel_binding:
            names.append("channel-binding-removed")
        return names


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How the legs of a route speak.

    Attributes:
        listen: How clients are to.
        upstream: How the server is to be spoken with.
        mode: What becomes of STLS on a listener in the clear.
        announce: How the server learns who the client is.
    """

    listen: Scheme
    upstream: Scheme
    mode: StlsMode
    announce: Announce = "none"

    @property
    def in_step(self) -> bool:
        """Whether STLS is used on both legs, at the moment that the client chooses."""
        return self.listen == self.upstream == "pop3+stls"

    @property
    def server_tls_first(self) -> bool:
        """Whether the server's leg is put under TLS before the client sees its greeting."""
        return self.upstream != "pop3" and not self.in_step

    def rules(self, *, client_tls: bool, server_tls: bool) -> Rules | None:
        """Say what applies to a session.

        Args:
            client_tls: Whether the client's leg is under TLS.
            server_tls: Whether the server's is.

        Returns:
            The rules, the same ones for all sessions of a kind; None if the conversation passes as
            it is, and STLS with it.
        """
        return _rules(self, client_tls, server_tls)

    def names(self) -> list[str]:
        """Name all that may be changed in a session, for its first record (P28).

        What depends on a client's STLS has the ending `-after-stls`.
        """
        added = [ADDED[self.announce]] if self.announce != "none" else []
        client, server = self.listen == "pop3s", self.server_tls_first
        first = self.rules(client_tls=client, server_tls=server)
        if first is None:
            return added
        names = added + first.names
        if first.stls in ("upgrade", "answer"):
            later = self.rules(client_tls=True, server_tls=server or first.stls == "upgrade")
            more = later.names if later is not None else []
            names += [f"{name}-after-stls" for name in more if name not in names]
        return names


@cache
def _rules(manner: Manner, client_tls: bool, server_tls: bool) -> Rules | None:
    if client_tls:
        if server_tls:
            return Rules(edits=Edits(remove_channel_binding=True))
        return Rules(stls="refuse", edits=Edits(remove_stls=True, remove_channel_binding=True))
    if manner.listen == "pop3+stls":
        if manner.in_step and not server_tls:
            return Rules(stls="upgrade", require_stls=True)
        edits = Edits(add_stls=True, remove_channel_binding=server_tls)
        return Rules(stls="answer", require_stls=True, edits=edits)
    if manner.mode == "hide":
        edits = Edits(remove_stls=True, remove_channel_binding=server_tls)
        return Rules(stls="refuse", edits=edits)
    if server_tls:
        return Rules(stls="answer", edits=Edits(remove_channel_binding=True))
    return Rules(stls="upgrade") if manner.mode == "intercept" else None
