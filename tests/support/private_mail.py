"""Mails of private-looking words in every form that mail has, and what of their shape must stay.

All words are ours. `WORDS` holds those that must be found in nothing that is made of these mails.
"""

from __future__ import annotations

import base64
import binascii
import quopri
import re
from collections.abc import Iterator

from popproxy.pop3 import Session, Side
from popproxy.privacy import Recorder
from popproxy.records import Record
from tests.support.recording import SECOND, begin, recorder

WORDS = (
    "Konstanze", "Wiesengrund", "Krankenschein", "Scheidung", "Überweisung", "geheimvorhaben",
    "Quittungsbuch", "rumpelstilz", "nachtfalter", "Zwetschgen", "mandelbaum", "Ölfarbenkasten",
    "Петербург", "Наталья", "北京市朝阳区", "sperlingsgasse", "urkundenrolle",
)  # fmt: skip

_BASE64 = base64.encodebytes(("Konstanze, die Überweisung ist da. " * 9).encode()).replace(
    b"\n", b"\r\n"
)
_PNG = base64.encodebytes(b"\x89PNG\r\n\x1a\n" + b"Wiesengrund\0\1\2\xff" * 20).replace(
    b"\n", b"\r\n"
)
_QP = quopri.encodestring(("Liebe Konstanze, die Überweisung an Наталья " * 5).encode()).replace(
    b"\n", b"\r\n"
)
_HTML = (
    b'<html><body bgcolor="#ff00aa"><p class="Zwetschgen">Hallo&nbsp;Konstanze &Uuml;berweisung</p>'
    b'<a href="https://mandelbaum.example.org/urkundenrolle?x=12">Quittungsbuch</a>'
    b"<!-- rumpelstilz --><script>var nachtfalter = 'geheimvorhaben';</script></body></html>\r\n"
)


def _uuencode(data: bytes) -> bytes:
    lines = [binascii.b2a_uu(data[at : at + 45]) for at in range(0, len(data), 45)]
    return b"begin 644 urkundenrolle.pdf\n" + b"".join(lines) + b"`\nend\n"


_HEADER = (
    b"Return-Path: <konstanze.wiesengrund@mandelbaum.example.org>\r\n"
    b"Received: from rumpelstilz.mandelbaum.example.org (rumpelstilz [203.0.113.77])\r\n"
    b"\tby mx.sperlingsgasse.example.net (Postfix) with ESMTPS id 4Tx9Zq3k1Jz\r\n"
    b"\tfor <nachtfalter@sperlingsgasse.example.net>; Sat, 1 Nov 2025 22:37:46 +0100 (CET)\r\n"
    b"DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/simple; d=mandelbaum.example.org; "
    b"s=sperling;\r\n"
    b" h=from:to:subject; bh=Zm9vYmFyYmF6cXV1eA==; b=QUJDREVGR0hJSktMTU5PUA==\r\n"
    b"From: \"Konstanze Wiesengrund\" <konstanze.wiesengrund@mandelbaum.example.org>\r\n"
    b"To: =?utf-8?q?Nat=C3=A4lie_Wiesengrund?= <nachtfalter@sperlingsgasse.example.net>,\r\n"
    b" =?utf-8?b?" + base64.b64encode("Наталья Петербург".encode())
    + b"?= <n.p@mandelbaum.example.org>\r\n"
    b"Cc: undisclosed-recipients:;\r\n"
    b"Subject: =?iso-8859-1?Q?Die_=DCberweisung_und_der?=\r\n =?utf-8?B?"
    + base64.b64encode("Krankenschein für Zwetschgen".encode()) + b"?= geheimvorhaben\r\n"
    b"Date: Sat, 01 Nov 2025 22:37:40 +0100\r\n"
    b"Message-ID: <geheimvorhaben.20251101223740@mandelbaum.example.org>\r\n"
    b"References: <quittungsbuch.1@mandelbaum.example.org>\r\n"
    b"\t<quittungsbuch.2@mandelbaum.example.org>\r\n"
    b"X-Rumpelstilz-Spam: no, urkundenrolle=12\r\n"
    b"Geheimvorhaben: nachtfalter\r\n"
    b"MIME-Version: 1.0\r\n"
)  # fmt: skip


def _mail(content: bytes, body: bytes) -> bytes:
    return _HEADER + content + b"\r\n" + body


MAILS: dict[str, bytes] = {
    "plain": _mail(
        b"Content-Type: text/plain; charset=utf-8; format=flowed\r\n",
        "> Konstanze schrieb: \r\n>> Überweisung an Наталья Петербург, 北京市朝阳区 \r\n"
        "..Scheidung\r\n.. \r\n-- \r\nsperlingsgasse 17\t\u2028☎ 0301234567\r\n".encode(),
    ),
    "latin": _mail(
        b"Content-Type: text/plain; charset=iso-8859-15\r\n",
        "Die Überweisung, der Ölfarbenkasten\r\n".encode("latin-1"),
    ),
    "gbk": _mail(
        b"Content-Type: text/plain; charset=gbk\r\nX-Rest: 1\r\n",
        "北京市朝阳区 Konstanze\r\n".encode("gbk"),
    ),
    "iso-2022-jp": _mail(
        b"Content-Type: text/plain; charset=iso-2022-jp\r\n",
        "Konstanze の秘密の計画です。\r\n".encode("iso-2022-jp"),
    ),
    "unknown charset": _mail(
        b"Content-Type: text/plain; charset=x-wiesengrund\r\n", b"Konstanze \xff\xfe\r\n"
    ),
    "utf-16": _mail(
        b"Content-Type: text/plain; charset=utf-16\r\nContent-Transfer-Encoding: base64\r\n",
        base64.encodebytes("Konstanze, Наталья".encode("utf-16")).replace(b"\n", b"\r\n"),
    ),
    "utf-16 in the raw": _mail(
        b"Subject: =?utf-16?Q?K=00o=00n=00=1F=04?=\r\nContent-Type: text/plain; "
        b"charset=utf-16le\r\n",
        "Konstanze, Наталья".encode("utf-16-le").replace(b"\n", b"") + b"\r\nKonstanze\r\n",
    ),
    "quoted-printable": _mail(
        b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: "
        b"Quoted-Printable\r\n",
        _QP + b"=C3=\r\n=9Cberweisung =3d =XY =\r\n.. Konstanze=20\r\n",
    ),
    "base64 text": _mail(
        b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: "
        b"base64\r\n", _BASE64
    ),
    "base64 that is none": _mail(
        b"Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n",
        b"Konstanze\xe4\0\1 Wiesengrund!=\r\n" + _BASE64,
    ),
    "base64 unlabelled": _mail(b"", _BASE64),
    "binary": _mail(
        b"Content-Type: application/octet-stream; name=urkundenrolle.bin\r\n"
        b"Content-Transfer-Encoding: binary\r\n",
        bytes(range(256)) * 4 + b"Konstanze\r\n",
    ),
    "html": _mail(b"Content-Type: text/html; charset=utf-8\r\n", _HTML),
    "html, quoted-printable": _mail(
        b"Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: "
        b"quoted-printable\r\n",
        quopri.encodestring(_HTML).replace(b"\n", b"\r\n"),
    ),
    "uuencode": _mail(
        b"Content-Type: text/plain\r\n",
        b"Konstanze\r\n" + _uuencode(b"Wiesengrund und Quittungsbuch " * 7).replace(b"\n", b"\r\n"),
    ),
    "yenc": _mail(
        b"", b"=ybegin line=128 size=12 name=urkundenrolle.bin\r\n\x93*Konstanze\xff=J\r\n"
        b"=yend size=12\r\n"
    ),
    "calendar": _mail(
        b"Content-Type: text/calendar; method=REQUEST\r\n",
        b"BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nSUMMARY:Scheidung\r\nATTENDEE;CN=Konstanze:mailto:"
        b"nachtfalter@mandelbaum.example.org\r\nDTSTART:20251101T223740Z\r\nEND:VEVENT\r\n"
        b"END:VCALENDAR\r\n",
    ),
    "pgp": _mail(
        b"Content-Type: multipart/signed; micalg=pgp-sha256; "
        b"protocol=\"application/pgp-signature\";\r\n"
        b" boundary=sig-Rumpelstilz\r\n",
        b"--sig-Rumpelstilz\r\n\r\nKonstanze\r\n--sig-Rumpelstilz\r\n"
        b"Content-Type: application/pgp-signature; name=signature.asc\r\n\r\n"
        b"-----BEGIN PGP SIGNATURE-----\r\n\r\n" + _BASE64 + b"=aB3d\r\n-----END PGP "
        b"SIGNATURE-----\r\n"
        b"--sig-Rumpelstilz--\r\n",
    ),
    "s/mime": _mail(
        b"Content-Type: application/pkcs7-mime; smime-type=signed-data; name=smime.p7m\r\n"
        b"Content-Transfer-Encoding: base64\r\n",
        _BASE64,
    ),
    "nested": _mail(
        b"Content-Type: multipart/mixed; boundary=\"=_aussen\"\r\n",
        b"Vorspann Konstanze\r\n--=_aussen\r\n"
        b"Content-Type: multipart/alternative; boundary=\"=_aussen-innen\"\r\n\r\n"
        b"--=_aussen-innen\r\nContent-Type: text/plain\r\n\r\nKonstanze\r\n--=_aussenX\r\n"
        b"--=_aussen-innen\r\nContent-Type: text/html\r\n\r\n<b>Konstanze</b>\r\n"
        b"--=_aussen-innen--\r\n"
        b"--=_aussen\r\nContent-Type: image/png; name*=utf-8''%C3%96lfarbenkasten.png\r\n"
        b"Content-Transfer-Encoding: base64\r\n"
        b"Content-Disposition: attachment; filename*0=\"Ueberweisung \"; "
        b"filename*1=Zwetschgen.png\r\n\r\n"
        + _PNG + b"--=_aussen\r\nContent-Type: message/rfc822\r\n\r\n" + _HEADER
        + b"Content-Type: multipart/mixed; boundary*0=tief; boundary*1=innen\r\n\r\n"
        b"--tiefinnen\r\n\r\nScheidung\r\n--tiefinnen--\r\n"
        b"--=_aussen\r\nContent-Type: message/delivery-status\r\n\r\n"
        b"Reporting-MTA: dns; rumpelstilz.mandelbaum.example.org\r\n\r\n"
        b"Final-Recipient: rfc822; nachtfalter@mandelbaum.example.org\r\nStatus: 5.1.1\r\n"
        b"--=_aussen--\r\nNachspann Scheidung\r\n",
    ),
    "boundaries that are wrong": _mail(
        b"Content-Type: multipart/mixed; boundary=Zwetschgen\r\n",
        b"--Zwetschgem\r\nContent-Type: text/plain\r\n\r\nKonstanze\r\n--Zwetschgen\r\n"
        b"Content-Type: text/plain; name=Scheidung.pdf\r\n\r\nKonstanze\r\n--Zwetschgen-\r\n"
        b"--zwetschgen--\r\n",
    ),
    "no header": "Konstanze\r\nScheidung: Krankenschein\r\n\r\nÜberweisung\r\n".encode(),
    "status look-alikes": _mail(
        b"", b"+OK Konstanze\r\n-ERR Scheidung\r\nerrand\r\n+OKonstanze\r\n..\r\n...\r\n"
        b"PASS geheimvorhaben\r\n"
    ),
    "line ends": _mail(b"", b"Konstanze\nScheidung\r\r\nKrankenschein\r\0\n\r\n"
    b"\x1b[31mZwetschgen\x1b[0m"),
}  # fmt: skip


def stuffed(message: bytes) -> bytes:
    """A message as RETR brings it, without its end."""
    return re.sub(rb"(?m)^\.", b"..", message) if not message.endswith(b"\n") else _stuff(message)


def _stuff(message: bytes) -> bytes:
    lines = message.split(b"\r\n")
    return b"\r\n".join(b"." + line if line.startswith(b".") else line for line in lines)


def session_with(
    *mails: bytes, greeting: bytes = b"+OK rumpelstilz.mandelbaum.example.org\r\n"
) -> list[Record]:
    """The records of a session that fetches mails, which are stuffed here."""
    session, made = Session(), recorder()
    records = begin(made)
    at = 0

    def say(side: Side, data: bytes) -> None:
        nonlocal at
        at += SECOND
        records.extend(made.record(session.receive(side, data, at)))

    say(Side.SERVER, greeting)
    say(Side.CLIENT, b"USER nachtfalter@mandelbaum.example.org\r\n")
    say(Side.SERVER, b"+OK nachtfalter may enter\r\n")
    say(Side.CLIENT, b"PASS Zwetschgenkuchen\r\n")
    say(Side.SERVER, b"+OK nachtfalter@mandelbaum.example.org has %d messages\r\n" % len(mails))
    say(Side.CLIENT, b"UIDL\r\n")
    ids = b"".join(b"%d rumpelstilz%04d\r\n" % (n, n) for n, _ in enumerate(mails, 1))
    say(Side.SERVER, b"+OK\r\n" + ids + b".\r\n")
    for number, mail in enumerate(mails, 1):
        say(Side.CLIENT, b"RETR %d\r\n" % number)
        end = b".\r\n" if not mail or mail.endswith(b"\r\n") else b"\r\n.\r\n"
        say(Side.SERVER, b"+OK %d octets\r\n" % len(mail))
        content = _stuff(mail) + end
        for begun in range(0, len(content), 1460):
            say(Side.SERVER, content[begun : begun + 1460])
    say(Side.CLIENT, b"QUIT\r\n")
    say(Side.SERVER, b"+OK bye\r\n")
    for side in Side:
        records += made.record(session.end(side, at))
    return [*records, *finish(made, at)]


def finish(made: Recorder, at: int) -> list[Record]:
    """The last records of a session."""
    return made.end(reason="client-closed", detail=None, at=at)


_WORD = re.compile(rb"[A-Za-z0-9\x80-\xff]+")


def words(text: bytes, least: int = 6) -> Iterator[bytes]:
    """Words of a text with at least so many characters, in small letters."""
    for word in _WORD.findall(text):
        if len(word.decode("utf-8", "replace")) >= least:
            yield word.lower()
