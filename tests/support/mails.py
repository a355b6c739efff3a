"""Mails that have what goes wrong in transit, all made by us, and how to compare them.

Every mail is given as it crosses the wire before byte-stuffing: lines end in CRLF.
"""

from __future__ import annotations

import hashlib
import random
import string
from base64 import encodebytes
from collections.abc import Iterable
from dataclasses import dataclass

from tests.support.leaks import PASSWORD

ADDED_BY_CLIENTS = (
    b"content-length",
    b"delivered-to",
    b"lines",
    b"received",
    b"return-path",
    b"status",
    b"x-account-key",
    b"x-getmail-retrieved-from-mailbox",
    b"x-mozilla-keys",
    b"x-mozilla-status",
    b"x-mozilla-status2",
    b"x-uid",
    b"x-uidl",
)
"""Header fields that a mail client may add to what it fetched; our mails have none of them."""


@dataclass(frozen=True, kw_only=True)
class Mail:
    """One mail of ours."""

    name: str
    content: bytes

    @property
    def sha256(self) -> str:
        """Of the message as RETR brings it, byte-stuffing removed."""
        return hashlib.sha256(self.content).hexdigest()


def digest(message: bytes) -> str:
    """Give the SHA-256 of a message's canonical form.

    Clients store what they fetched with LF line ends and add header fields of their own. The
    canonical form has LF line ends and the header without `ADDED_BY_CLIENTS`; everything else,
    and the body to its last octet, stands as it came.
    """
    header, separator, body = message.replace(b"\r\n", b"\n").partition(b"\n\n")
    kept = []
    keeping = True
    for line in header.split(b"\n"):
        if not line[:1].isspace():
            keeping = line.partition(b":")[0].lower() not in ADDED_BY_CLIENTS
        if keeping:
            kept.append(line)
    return hashlib.sha256(b"\n".join(kept) + separator + body).hexdigest()


def digests(messages: Iterable[bytes]) -> list[str]:
    """Give the digests of messages, sorted."""
    return sorted(map(digest, messages))


def _mail(name: str, body: bytes, *, more_header: bytes = b"") -> Mail:
    header = (
        b"From: Ada Kiesel <ada@example.org>\r\n"
        b"To: Bo Linde <bo@example.net>\r\n"
        b"Subject: " + name.encode() + b"\r\n"
        b"Date: Sat, 29 Oct 2011 22:43:41 +0530\r\n"
        b"Message-ID: <" + name.replace(" ", "-").encode() + b"@example.org>\r\n"
        b"MIME-Version: 1.0\r\n" + more_header
    )
    return Mail(name=name, content=header + b"\r\n" + body)


def _chance(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311  # it fills mails, the same in each run


def _letters(count: int, seed: int) -> bytes:
    alphabet = string.ascii_letters + string.digits
    return "".join(_chance(seed).choices(alphabet, k=count)).encode()


DOTS = _mail(
    "lines that begin with dots",
    b".one dot\r\n..two dots\r\n...\r\n.\r\n..\r\n+OK not a response\r\n-ERR nor is this\r\n"
    b"QUIT\r\n . not stuffed\r\n.\r\n",
)
EIGHT_BIT = _mail(
    "eight bit text",
    "Grüße aus Köln, “quoted” – und ein € dazu\r\n".encode()
    + "déjà vu en latin-1\r\n".encode("latin-1")
    + b"high octets: "
    + bytes(range(0xA0, 0x100))
    + b"\r\n",
    more_header=b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n",
)
LONG_LINE = _mail(
    "a line of 100 KB",
    b"before\r\n" + _letters(100 * 1024, seed=1) + b"\r\nafter\r\n",
)
EMPTY_BODY = _mail("an empty body", b"")
MULTIPART = _mail(
    "two parts",
    b"A preamble that nobody reads.\r\n"
    b"--=_seam\r\nContent-Type: text/plain\r\n\r\nPlain words.\r\n\r\n"
    b"--=_seam\r\nContent-Type: text/html\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
    b"<p style=3D'a'>\r\n.dotted { margin: 0 }\r\n</p>\r\n"
    b"--=_seam--\r\n\r\n",
    more_header=b'Content-Type: multipart/alternative;\r\n boundary="=_seam"\r\n',
)
ATTACHMENT = _mail(
    "an attachment of 2 MB",
    b"--=_edge\r\nContent-Type: text/plain\r\n\r\nSee the file.\r\n"
    b"--=_edge\r\nContent-Type: application/octet-stream\r\n"
    b"Content-Transfer-Encoding: base64\r\nContent-Disposition: attachment; filename=noise.bin\r\n"
    b"\r\n"
    + encodebytes(_chance(2).randbytes(2_000_000)).replace(b"\n", b"\r\n")
    + b"--=_edge--\r\n",
    more_header=b'Content-Type: multipart/mixed; boundary="=_edge"\r\n',
)
PASSWORD_INSIDE = _mail(
    "the password in a body",
    b"Your new password is " + PASSWORD.encode() + b", please keep it to yourself.\r\n"
    b"In capitals: " + PASSWORD.upper().encode() + b"\r\n",
)

MAILS = (DOTS, EIGHT_BIT, LONG_LINE, EMPTY_BODY, MULTIPART, ATTACHMENT)
"""The maildrop of the tests against Dovecot; `PASSWORD_INSIDE` is for a test of its own."""
