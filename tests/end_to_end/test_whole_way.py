"""From a user's mailbox to a maintainer's machine, by the commands that both would type.

Dovecot, with private-looking mail → fetchmail through `run` → `share` → `verify` → `replay` →
fetchmail again: the same counts, sizes and structure, and none of the words.
"""

from __future__ import annotations

import email
import re
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from email.message import Message
from pathlib import Path

from popproxy.privacy.sanitise import kept
from tests.support.clients import Account, fetchmail
from tests.support.dovecot import Dovecot
from tests.support.leaks import PASSWORD, leaks
from tests.support.mails import Mail
from tests.support.private_mail import MAILS, WORDS
from tests.support.programs import needs
from tests.support.proxy import Proxy
from tests.support.running import run, started
from tests.support.waiting import PATIENCE

NAMES = (
    *("plain", "latin", "gbk", "quoted-printable", "base64 text", "html", "uuencode", "nested"),
    *("pgp", "boundaries that are wrong", "status look-alikes"),
)
MAILBOX = [Mail(name=name, content=MAILS[name]) for name in NAMES]
_WORD = re.compile(r"[^\W_]{6,}")
_TOKEN = re.compile(r"\S{6,}")
_KEPT = re.compile(r"\d\d:\d\d:\d\d|charset=(?:utf-8|iso-8859-15);?|x-rest:")
"""Dates are shifted by whole days; names of charsets and of header fields in X- stay."""


@needs("dovecot", "fetchmail")
def test_the_whole_way_from_a_mailbox_to_a_failing_test(dovecot: Dovecot, tmp_path: Path) -> None:
    user = dovecot.user(MAILBOX)
    (tmp_path / "users").mkdir()
    account = Account(host=dovecot.host, port=dovecot.port, user=user, home=tmp_path / "users")
    with Proxy(tmp_path / "proxy", dovecot.port, "--jsonl", "capture.jsonl") as proxy:
        before = fetchmail(replace(account, port=proxy.port)).messages
        assert proxy.stop() == 0
    capture, bundle = proxy.home / "capture.jsonl", tmp_path / "bundle.zip"

    shared = run("share", str(capture), "-o", str(bundle), "--yes", cwd=tmp_path)
    assert shared.returncode == 0, shared.stderr
    secrets = tmp_path / "secrets.txt"
    secrets.write_text("\n".join([PASSWORD, user, *WORDS, ""]), "utf-8")
    assert run("verify", "--secrets-from", str(secrets), str(capture), cwd=tmp_path).returncode == 1
    verified = run("verify", "--secrets-from", str(secrets), str(bundle), cwd=tmp_path)
    assert verified.returncode == 0, verified.stdout + verified.stderr

    home = tmp_path / "replay"
    options = ("--once", "--no-timing", "--listen", "pop3://127.0.0.1:0")
    with started("replay", str(bundle), *options, cwd=home) as (process, port):
        (tmp_path / "maintainers").mkdir()
        account = replace(account, port=port, user="whoever", password="whatever")
        after = fetchmail(replace(account, home=tmp_path / "maintainers")).messages
        status = process.wait(PATIENCE)
    assert status == 0, (home / "stderr").read_text()

    assert len(after) == len(before) == len(MAILBOX)
    assert sorted(map(shape, after)) == sorted(map(shape, before))
    assert sorted(map(structure, after)) == sorted(map(structure, before))
    told = members(bundle)
    assert leaks(told) == []
    assert leaks(told, user) == []
    everything = b"\n".join(told.values()).decode("utf-8", "replace").lower()
    texts, original = texts_of_all(), capture.read_text("utf-8").lower()
    assert sum(text in original for text in texts) > 100, "they can be found"
    assert {text for text in texts if text in everything} == set()


def members(bundle: Path) -> dict[str, bytes]:
    """What stands in a bundle."""
    with zipfile.ZipFile(bundle) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def shape(message: bytes) -> list[tuple[int, int, int]]:
    """Of each line: octets, dots at its start, octets with the eighth bit."""
    return [
        (len(line), len(line) - len(line.lstrip(b".")), sum(octet > 0x7F for octet in line))
        for line in message.split(b"\n")
    ]


def structure(message: bytes) -> str:
    """A message's parts, with the names of their header fields; of private ones the length."""

    def parts(part: Message) -> Iterator[str]:
        names = " ".join(
            name.lower() if name.lower().encode() in kept.HEADER_NAMES else str(len(name))
            for name in part
        )
        encoding = str(part.get("Content-Transfer-Encoding", ""))
        yield f"({part.get_content_type()} {part.get_content_charset()} {encoding} {names}"
        payload = part.get_payload()
        for inner in payload if isinstance(payload, list) else ():
            if isinstance(inner, Message):
                yield from parts(inner)
        yield ")"

    return "".join(parts(email.message_from_bytes(message)))


def texts_of_all() -> set[str]:
    """Every run of six letters and digits or more in the mails, and of six of any characters.

    What stays on purpose is left out.
    """
    found: set[str] = set()
    for mail in MAILBOX:
        whole = mail.content.decode("utf-8", "replace").lower()
        found |= {token for token in _TOKEN.findall(whole) if not _stays(token)}
        texts = [whole]
        for part in email.message_from_bytes(mail.content).walk():
            payload = part.get_payload(decode=True)
            if isinstance(payload, bytes):
                texts += [payload.decode(charset, "replace") for charset in ("utf-8", "latin-1")]
        found |= {word for text in texts for word in _WORD.findall(text.lower())}
    return {text for text in found if text.encode() not in kept.ALL}


def _stays(token: str) -> bool:
    """Say whether a token is of words that stay, a time of day, or a charset."""
    words = re.findall(r"[^\W_]+", token)
    return _KEPT.fullmatch(token) is not None or all(word.encode() in kept.ALL for word in words)
