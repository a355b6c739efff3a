"""OpenSSL's own client against our side, over TCP: it trusts nothing but what was exported."""

from __future__ import annotations

import socket
import ssl
import subprocess
from pathlib import Path

import pytest
import trustme

from popproxy.tls.authority import export, read_certificate
from popproxy.tls.leaves import ListenerContext, ListenerSocket
from popproxy.tls.settings import ListenerTls
from tests.support.programs import needs
from tests.support.waiting import PATIENCE

pytestmark = needs("openssl")
VERSIONS = ["-tls1_2", "-tls1_3"]
NAME = "mail.example.net"


class Served:
    """A listener, and OpenSSL's clients that connect to it one after the other."""

    def __init__(self, folder: Path) -> None:
        self.listener = ListenerContext(
            ListenerTls(authority=folder / "authority"), default_names=["pop.example.org"]
        )
        certificate = read_certificate(folder / "authority")
        assert certificate is not None
        self.trusted = folder / "popproxy.crt"
        self.trusted.write_bytes(export(certificate, "pem"))

    def connect(self, *options: str, trusted: Path | None = None) -> tuple[ListenerSocket, str]:
        """Serve one client a greeting.

        Returns:
            Our end, closed, and what the client said.

        Raises:
            ssl.SSLError: The client refused.
        """
        with socket.create_server(("127.0.0.1", 0)) as accepting:
            accepting.settimeout(PATIENCE)
            address = f"127.0.0.1:{accepting.getsockname()[1]}"
            trusting = ["-verify_return_error", "-CAfile", str(trusted or self.trusted)]
            client = subprocess.Popen(
                ["openssl", "s_client", "-connect", address, "-ign_eof", *trusting, *options],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            try:
                connected, _ = accepting.accept()
                connected.settimeout(PATIENCE)
                with self.listener.wrap(connected) as server:
                    server.do_handshake()
                    server.sendall(b"+OK ready\r\n")
                    server.unwrap()
            finally:
                said, _ = client.communicate(timeout=PATIENCE)
        return server, said


@pytest.fixture
def served(tmp_path: Path) -> Served:
    return Served(tmp_path)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("options", "shown"),
    [
        (["-servername", NAME, "-verify_hostname", NAME], NAME),
        (["-noservername", "-verify_hostname", "pop.example.org"], "pop.example.org"),
    ],
)
def test_p35_p37_openssl_takes_the_certificate(
    served: Served, version: str, options: list[str], shown: str
) -> None:
    server, said = served.connect(version, *options)
    assert "Verify return code: 0 (ok)" in said
    assert f"CN={shown}" in said.replace("CN = ", "CN=")  # by version
    assert "+OK ready" in said
    assert server.requested_name == (NAME if shown == NAME else None)


@pytest.mark.parametrize("version", VERSIONS)
def test_openssl_resumes_its_session(served: Served, version: str, tmp_path: Path) -> None:
    options = [version, "-servername", NAME]
    kept = str(tmp_path / "session.pem")
    _, said = served.connect(*options, "-sess_out", kept)
    assert "New, TLSv1" in said
    _, said = served.connect(*options, "-sess_in", kept)
    assert "Reused, TLSv1" in said


@pytest.mark.parametrize("version", VERSIONS)
def test_openssl_refuses_what_it_does_not_trust(
    served: Served, version: str, tmp_path: Path
) -> None:
    stranger = tmp_path / "stranger.pem"
    stranger.write_bytes(trustme.CA().cert_pem.bytes())
    with pytest.raises(ssl.SSLError, match=r"(?i)unknown ca"):
        served.connect(version, "-servername", NAME, trusted=stranger)
