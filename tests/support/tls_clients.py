"""Which client can speak in which way, and how each is told where to fetch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tests.support.clients import (
    Account,
    Client,
    Fetched,
    Security,
    curl,
    fetchmail,
    getmail,
    mpop,
    mutt,
    python_poplib,
)
from tests.support.mails import Mail
from tests.support.s_client import s_client

EVERY_WAY: tuple[Security, ...] = ("plain", "stls", "tls")


@dataclass(frozen=True, kw_only=True)
class Speaker:
    """A client, and the ways that it can speak."""

    name: str
    client: Client | None
    """None: it runs for many fetches, and a fixture of its name gives it."""
    programs: tuple[str, ...]
    """What it needs, each one of `tests.support.programs.PACKAGES`."""
    securities: tuple[Security, ...] = EVERY_WAY


SPEAKERS = (
    Speaker(name="curl", client=curl, programs=("curl",)),
    Speaker(name="fetchmail", client=fetchmail, programs=("fetchmail",)),
    Speaker(name="mpop", client=mpop, programs=("mpop",)),
    Speaker(name="s_client", client=s_client, programs=("openssl",), securities=("stls", "tls")),
    Speaker(name="getmail", client=getmail, programs=("getmail",), securities=("plain", "tls")),
    Speaker(name="mutt", client=mutt, programs=("mutt",)),
    Speaker(name="thunderbird", client=None, programs=("thunderbird",)),
    Speaker(name="poplib", client=python_poplib, programs=()),
)


Fetch = Callable[[Speaker, Account], Fetched]
"""Let a client fetch."""


class Server(Protocol):
    """What the rigs of servers have in common."""

    host: str
    port: int
    tls_port: int
    ca_file: Path
    truncates: bool
    """Whether it ends TLS without saying so (no close_notify)."""
    logins: Mapping[str, str]
    """Client: how it has to log in where its own choice in the clear fails."""

    def user(self, mails: Iterable[Mail]) -> str:
        """Make an account with these mails in its maildrop, and give its name."""


def account_at(
    server: Server, speaker: Speaker, security: Security, user: str, home: Path
) -> Account:
    """Say where to fetch directly from a server, spoken to in this way.

    Args:
        server: A running server.
        speaker: Who fetches.
        security: How the client speaks.
        user: The user's name on the server.
        home: A directory of the client's own; it is made.
    """
    home.mkdir()
    return Account(
        host="localhost",  # fetchmail compares no addresses with a certificate
        port=server.tls_port if security == "tls" else server.port,
        user=user,
        home=home,
        mechanism=server.logins.get(speaker.name, "") if security == "plain" else "",
        security=security,
        ca_file=server.ca_file,
        truncated=server.truncates,
    )
