"""What proves a chain to be the one that popproxy made: signatures, and copies kept elsewhere.

A chain shows that nothing in it was changed unless all behind it was made anew. A signature, or a
checkpoint that was sent elsewhere while it was made, pins the chain to what it was at that moment.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from popproxy.formats.chain import State, link_of
from popproxy.formats.file_lines import FileLine, decode, key_name, signed_text

CHECKPOINTS: Final = 2_000_000
"""Checkpoints that are held at most: those of almost four years, at one a minute."""


class ProofError(Exception):
    """A key or a file of checkpoints cannot be used; the message says why, for a person."""


class Keys:
    """Public keys that lines about a file may be signed by.

    Args:
        pems: Each key, in PEM; those of certificates and private keys are refused.

    Raises:
        ProofError: One is no Ed25519 public key.
    """

    def __init__(self, pems: Iterable[tuple[str, bytes]]) -> None:
        self._keys: dict[str, Ed25519PublicKey] = {}
        for name, pem in pems:
            try:
                key = serialization.load_pem_public_key(pem)
            except ValueError:
                key = None
            if not isinstance(key, Ed25519PublicKey):
                raise ProofError(
                    f"{name} holds no Ed25519 public key in PEM: give the file that ends in .pub,"
                    " which popproxy wrote beside the signing key"
                )
            self._keys[key_name(key.public_bytes_raw())] = key

    def vouch(self, line: FileLine, before: State) -> bool | None:
        """Check a line's signature.

        Args:
            line: The line.
            before: The chain in front of it, computed from the file.

        Returns:
            Whether it is good; None if the line has none, or it is by another key.
        """
        signature = line.signature
        key = self._keys.get(signature.key) if signature is not None else None
        if key is None or signature is None:
            return None
        about = line.file
        gone = about.removed.number if about.removed is not None else None
        text = signed_text(about.series, about.number, before, line.event.action, gone)
        try:
            key.verify(signature.ed25519, text)
        except InvalidSignature:
            return False
        return True


@dataclass(slots=True)
class _OfFile:
    """Checkpoints of one file that were not met yet: the hash of each line, by its number."""

    name: str
    digests: dict[int, bytes] = field(default_factory=dict)


class Checkpoints:
    """Copies of lines about files, kept where those who may write the files cannot.

    Args:
        lines: The copies, one a line; what stands in front of the first brace, as syslog puts it
            there, is passed over, and so is any line that holds none.

    Attributes:
        count: How many there are.

    Raises:
        ProofError: There is none, or there are more than `CHECKPOINTS`.
    """

    def __init__(self, lines: Iterable[bytes]) -> None:
        self._files: dict[tuple[str, int], _OfFile] = {}
        self._first: dict[str, int] = {}  # of each series: the first file that a copy tells of
        self.count = 0
        for line in lines:
            copied = line[line.find(b"{") :].rstrip() + b"\n" if b"{" in line else b""
            link = link_of(copied)
            about = decode(copied) if link is not None else None
            if about is None or link is None:
                continue
            key = about.file.series, about.file.number
            self._files.setdefault(key, _OfFile(about.file.name)).digests[link.n] = link.digest
            self._first[key[0]] = min(key[1], self._first.get(*key))
            self.count += 1
            if self.count > CHECKPOINTS:
                raise ProofError(f"there are more than {CHECKPOINTS:,} checkpoints: give fewer")
        if not self.count:
            raise ProofError(
                "there is no checkpoint in it: give the file that lines about files were copied to"
            )

    def meet(self, line: FileLine, behind: State) -> bool:
        """Take a line off the list, if it is the same as its copy; say whether it is."""
        file = self._files.get((line.file.series, line.file.number))
        if file is None or file.digests.get(behind.n) != behind.digest:
            return False
        del file.digests[behind.n]
        return True

    def should_know(self, series: str, numbers: Iterable[int]) -> bool:
        """Tell whether a file is not older than all copies, so that there should be some of it.

        Args:
            series: Its series.
            numbers: Its numbers in that.
        """
        return max(numbers, default=0) >= self._first.get(series, 0)

    def unmet(self, ends: Mapping[tuple[str, int], int]) -> list[str]:
        """Say, for people, which copies no file had.

        Args:
            ends: Of each file that was verified, by series and number, its last line's number.
                Files that are older than the first of their series here are passed over.
        """
        first: dict[str, int] = {}
        for series, number in ends:
            first[series] = min(number, first.get(series, number))
        faults = []
        for (series, number), file in self._files.items():
            if not file.digests or number < first.get(series, number + 1):
                continue
            n = min(file.digests)
            if (series, number) not in ends:
                faults.append(
                    f"file {number} of the series, {file.name}, is missing: a checkpoint tells of"
                    f" its line {n:,}"
                )
            elif n > ends[series, number]:
                faults.append(
                    f"{file.name} was cut off: a checkpoint tells of its line"
                    f" {max(file.digests):,}, and it ends with line {ends[series, number]:,}"
                )
            else:
                faults.append(
                    f"{file.name} was made anew: its line {n:,} is not what the checkpoint says"
                )
        return faults
