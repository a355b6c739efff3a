"""Courier's POP3 server on loopback, unpacked and in a jail.

`couriertcpd` listens and starts a process for each connection, as in an installed Courier: on one
port in the clear and with STLS, on the other behind `couriertls`. Who logs in is asked of
`authdaemond` at a socket; a thread of ours answers there in its place.
"""

from __future__ import annotations

import base64
import contextlib
import hmac
import os
import socket
import threading
from collections.abc import Iterable, Mapping
from itertools import count
from types import MappingProxyType

from tests.support.certificates import issue
from tests.support.jail import OWNER, Jail
from tests.support.leaks import PASSWORD
from tests.support.mails import Mail
from tests.support.ports import free_ports, greets
from tests.support.waiting import until

_LOGIN = "usr/lib/courier/courier/courierpop3login"
_SERVER = "usr/lib/courier/courier/courierpop3d"
_LISTENER = "usr/sbin/couriertcpd"
_TLS = "usr/bin/couriertls"
_SETTINGS = {
    "COURIERTLS": f"/{_TLS}",
    "MAILDIRPATH": "Maildir",
    "POP3AUTH": "PLAIN LOGIN CRAM-MD5",
    "POP3AUTH_TLS": "PLAIN LOGIN",
    "POP3_TLS_REQUIRED": "0",
    "TLS_CERTFILE": "/server-and-key.pem",
    "TLS_VERIFYPEER": "NONE",
}


class Courier:
    """A running Courier.

    Attributes:
        host: Where it listens.
        port: Where it listens for POP3, which may go on under TLS by STLS.
        tls_port: Where it listens for TLS from the start.
        ca_file: The certificate of the authority that signed its certificate.
        truncates: Whether it ends TLS without saying so.
        logins: How clients have to log in where their own choice in the clear fails.
    """

    host = "127.0.0.1"
    truncates = False
    logins: Mapping[str, str] = MappingProxyType({"mpop": "user"})

    def __init__(self) -> None:
        self._jail = Jail("courier", "courier", "courier")
        self._numbers = count(1)
        self._questions = socket.socket(socket.AF_UNIX)
        try:
            self._jail.load([_LOGIN, _SERVER, _LISTENER, _TLS])
            self._start()
        except BaseException:
            self.stop()
            raise

    def _start(self) -> None:
        certificates = issue(self._jail.root)
        self.ca_file = certificates.ca_file
        both = self._jail.root / "server-and-key.pem"
        both.touch(0o600)
        os.chown(both, OWNER, OWNER)
        both.write_text(certificates.chain_file.read_text() + certificates.key_file.read_text())

        address = self._jail.folder("run/courier/authdaemon") / "socket"
        self._questions.bind(str(address))
        address.chmod(0o777)
        self._questions.listen()
        threading.Thread(target=self._answer, daemon=True).start()

        self.port, self.tls_port = free_ports(2)
        login = (f"/{_LOGIN}", f"/{_SERVER}", "Maildir")
        limits = ("-maxprocs=100", "-maxperip=100", "-nodnslookup", "-noidentlookup")
        listener = (f"/{_LISTENER}", f"-address={self.host}", *limits)
        tls = (f"/{_TLS}", "-server", "-tcpd", "-user=courier")
        self._jail.start(*listener, str(self.port), *login, POP3_STARTTLS="YES", **_SETTINGS)
        self._jail.start(
            *listener,
            str(self.tls_port),
            *tls,
            *login,
            POP3_TLS="1",
            POP3_STARTTLS="NO",
            **_SETTINGS,
        )
        until(lambda: greets(self.host, self.port), "Courier's greeting")

    def _answer(self) -> None:
        """Answer as authdaemond does, one question a connection, until the socket is closed."""
        # The listening socket is shut down to end this.
        with contextlib.suppress(OSError):
            while True:
                asking, _ = self._questions.accept()
                with asking, asking.makefile("rwb") as stream:
                    # The client's address comes before the question.
                    while (line := stream.readline()) and not line.startswith(b"AUTH "):
                        pass
                    if line:
                        stream.write(_verdict(stream.read(int(line.split()[1]))))

    @property
    def log(self) -> str:
        """What Courier has logged so far."""
        return self._jail.output

    def user(self, mails: Iterable[Mail]) -> str:
        """Make an account of its own with these mails in its maildrop, and give its name."""
        name = f"bo.courier{next(self._numbers)}"
        for folder in ("", "Maildir", "Maildir/cur", "Maildir/new", "Maildir/tmp"):
            self._jail.folder(f"home/{name}/{folder}")
        for number, mail in enumerate(mails, start=1):
            # Courier adds the CR of each line itself.
            path = self._jail.root / f"home/{name}/Maildir/new/{1_300_000_000 + number}.here"
            path.write_bytes(mail.content.replace(b"\r\n", b"\n"))
            os.chown(path, OWNER, OWNER)
        return name

    def stop(self) -> None:
        """End Courier and take everything away."""
        with contextlib.suppress(OSError):
            self._questions.shutdown(socket.SHUT_RDWR)
        self._questions.close()
        self._jail.stop()


def _verdict(question: bytes) -> bytes:
    """Say who somebody is: the service, the kind of login, and two lines by kind."""
    _, kind, first, second, *_ = question.split(b"\n")
    secret = PASSWORD.encode()
    user = b""
    if kind == b"login" and second == secret:
        user = first
    elif kind == b"cram-md5":
        claimed, _, digest = base64.b64decode(second).rpartition(b" ")
        if hmac.digest(secret, base64.b64decode(first), "md5").hex().encode() == digest:
            user = claimed
    if not user:
        return b"FAIL\n"
    return b"UID=%d\nGID=%d\nHOME=/home/%s\nADDRESS=%s\n.\n" % (OWNER, OWNER, user, user)
