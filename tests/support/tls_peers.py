"""Both ends of a session whose legs are under TLS, played by the test with OpenSSL."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from popproxy.records import LegName
from popproxy.relay.legs import LegLost, SocketLeg
from popproxy.relay.tls_leg import TlsLeg
from popproxy.tls.authority import Authority
from popproxy.tls.failures import TlsFailure
from popproxy.tls.handshake import handshake
from popproxy.tls.settings import ListenerTls, UpstreamTls
from tests.support.certificates import Certificates, issue
from tests.support.loopback import Serving, serving

HOST = "127.0.0.1"


@dataclass
class Peers:
    """A relay, and how its peers speak TLS.

    Attributes:
        relay: The relay.
        client: How the client speaks.
        server: How the server speaks.
        session: What the client resumes, if anything.
    """

    relay: Serving
    client: ssl.SSLContext
    server: ssl.SSLContext
    session: ssl.SSLSession | None = None

    async def secure_client(self, leg: SocketLeg) -> TlsLeg:
        """Do the client's handshake."""
        tls = self.client.wrap_socket(
            leg.take(),
            server_hostname=HOST,
            do_handshake_on_connect=False,
            suppress_ragged_eofs=False,
            session=self.session,
        )
        await _shake(tls, "upstream")
        return TlsLeg(tls, leg="upstream", name=HOST)

    async def secure_server(self, leg: SocketLeg) -> TlsLeg:
        """Do the server's handshake."""
        tls = self.server.wrap_socket(
            leg.take(), server_side=True, do_handshake_on_connect=False, suppress_ragged_eofs=False
        )
        await _shake(tls, "client")
        return TlsLeg(tls, leg="client")


async def _shake(tls: ssl.SSLSocket, leg: LegName) -> None:
    try:
        await handshake(tls, leg=leg, name=HOST)
    except TlsFailure:
        tls.close()
        raise


async def refused(secure: Awaitable[TlsLeg]) -> TlsFailure:
    """Give why a peer's TLS fails; in TLS 1.3 that may show at the first read only."""
    try:
        leg = await secure
    except TlsFailure as failure:
        return failure
    try:
        await leg.read()
    except LegLost as loss:
        if loss.failure is not None:
            return loss.failure
        raise
    finally:
        leg.close()
    raise AssertionError("TLS was not refused")


@asynccontextmanager
async def tls_serving(
    tmp_path: Path,
    listen: str,
    speak: str,
    *,
    version: ssl.TLSVersion | None = None,
    trusted: bool = True,
    names: tuple[str, ...] = (HOST,),
    server_name: str | None = None,
    **options: Any,
) -> AsyncIterator[Peers]:
    """Serve a route whose legs may be under TLS.

    Args:
        tmp_path: Where the authorities are made.
        listen: The listener's scheme.
        speak: The upstream's scheme.
        version: The only version of TLS that client and server speak.
        trusted: Whether popproxy trusts who issued the server's certificate.
        names: Names in the server's certificate.
        server_name: The name that popproxy wants in it; None for the upstream's.
        options: Those of `serving`.
    """
    certificates: Certificates = issue(tmp_path, *names)
    (tmp_path / "other").mkdir()
    ca = certificates.ca_file if trusted else issue(tmp_path / "other").ca_file
    authority = tmp_path / "authority"
    authority.mkdir(mode=0o700)
    Authority.open(authority)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificates.chain_file, certificates.key_file)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.load_verify_locations(authority / "authority.pem")
    if version is not None:
        for context in (server, client):
            context.minimum_version = context.maximum_version = version
    async with serving(
        listen=f"{listen}://127.0.0.1:0",
        speak=speak,  # type: ignore[arg-type] # the tests' own words
        listener_tls=ListenerTls(authority=authority),
        upstream_tls=UpstreamTls(ca=ca, server_name=server_name),
        **options,
    ) as relay:
        yield Peers(relay, client, server)
