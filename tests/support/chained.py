"""Files of JSON lines as popproxy seals them, made without running it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from popproxy.formats.chain import START, State, follows
from popproxy.formats.file_lines import Signature, key_name
from popproxy.formats.packed import open_packed
from popproxy.formats.sealing import Sealing, Sign
from popproxy.tools.chain_proof import Checkpoints, Keys
from popproxy.tools.chain_set import ChainVerifier, Whole

WHEN = datetime(2026, 11, 27, 9, 30, tzinfo=UTC)


def record(n: int, session: str = "s1") -> bytes:
    """Give the line of a record, not yet sealed."""
    value = {
        "@timestamp": "2026-11-27T09:30:00.000000Z",
        "schema": "popproxy/1",
        "event": {"action": "pop3.command"},
        "session": {"id": session, "seq": n},
        "side": "client",
        "raw": f"NOOP {n}\r\n",
    }
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"


class Series:
    """Writes the files of one output, one after the other, in the way that the sink does."""

    def __init__(self, folder: Path, series: str = "a1", sign: Sign | None = None) -> None:
        self.folder = folder
        self._id = series
        self._sign = sign
        self._state = START
        self._latest: Sealing | None = None
        self._number = 0

    def file(self, name: str, records: int = 10, *, closed: bool = True) -> Path:
        """Write the next file, which the chain goes on into."""
        self._number += 1
        sealing = Sealing(self._id, self._number, name, sign=self._sign, state=self._state)
        previous = self._latest.here if self._latest is not None else None
        lines = [sealing.start(WHEN, "9.9", previous, continues=True)]
        lines += [sealing.record(record(n + 1)) for n in range(records)]
        lines += [sealing.checkpoint(WHEN)]
        if closed:
            lines += [sealing.end(WHEN, "rotated")]
        self._latest, self._state = sealing, sealing.state
        path = self.folder / name
        path.write_bytes(b"".join(lines))
        return path


def lines_of(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True)


def rewrite(path: Path, lines: Iterable[bytes]) -> None:
    path.write_bytes(b"".join(lines))


def verify(
    *paths: Path,
    writing: Iterable[Path] = (),
    keys: Keys | None = None,
    checkpoints: Checkpoints | None = None,
    open_end: bool = False,
) -> Whole:
    """Verify files; see `ChainVerifier`."""
    held = {str(path) for path in writing}
    verifier = ChainVerifier(
        open_packed,
        being_written=held.__contains__,
        keys=keys,
        checkpoints=checkpoints,
        open_end=open_end,
    )
    return verifier.verify(map(str, paths))


def state_of(lines: Iterable[bytes]) -> State:
    """Follow a chain from its start to its end."""
    state = START
    for line in lines:
        following = follows(state, line)
        assert following is not None, line
        state = following
    return state


def signer() -> tuple[Sign, bytes]:
    """Make a signing key; give what signs, and the public key in PEM."""
    private = Ed25519PrivateKey.generate()
    public = private.public_key()
    name = key_name(public.public_bytes_raw())
    pem = public.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return lambda text: Signature(key=name, ed25519=private.sign(text)), pem
