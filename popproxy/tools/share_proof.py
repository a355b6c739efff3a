"""Searches what is to be a bundle for what it was made of."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from popproxy.formats import jsonl
from popproxy.privacy.sanitise.personal import Personal
from popproxy.records import WireRecord
from popproxy.tools.captures import BUNDLED
from popproxy.tools.share_parts import Commands, Hit, Wish, is_message

PIECE: Final = 1 << 20
_A_WORD: Final = "a word of the source"


def members(folder: Path) -> list[tuple[str, Path]]:
    """Give the files of a bundle: what to read first comes first."""
    first = ["README.txt", "REMOVED.txt", BUNDLED]
    rest = sorted(
        path.name for path in folder.iterdir() if path.is_file() and path.name not in first
    )
    logs = sorted(path.name for path in (folder / "putty").iterdir())
    named = [*first, *rest, *(f"putty/{name}" for name in logs)]
    return [(name, folder / name) for name in named]


def pieces(path: Path) -> Iterator[bytes]:
    """Read a file in pieces."""
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            yield piece


def prove(folder: Path, wish: Wish, personal: Personal) -> Iterator[Hit]:
    """Search a bundle's files.

    Args:
        folder: Where they are.
        wish: What its owner wanted.
        personal: The words of the source.

    Yields:
        What was found.
    """
    for member, path in members(folder):
        if wish.level != "all":
            at = 0
            for part in _whole_lines(path):
                for trace in personal.find(part):
                    yield Hit(
                        rule=_A_WORD,
                        member=member,
                        offset=at + trace.offset,
                        form=trace.form,
                    )
                at += len(part)
        if wish.search is not None:
            for found in wish.search.find(pieces(path)):
                yield Hit(
                    rule=f"secret {found.number} of the list",
                    member=member,
                    offset=found.offset,
                    form=found.form,
                )
    if wish.level == "all":
        return
    yield from _prove_wire(folder / BUNDLED, personal)


def _prove_wire(path: Path, personal: Personal) -> Iterator[Hit]:
    """Search what JSON does not show as it is: numbers of messages, and octets that it escapes."""
    at = 0
    commands = Commands()
    with path.open("rb") as lines:
        for line in lines:
            record = jsonl.decode(line)
            wire = record.wire if isinstance(record, WireRecord) else b""
            if is_message(record, commands.of(record)[0]):
                place = personal.numbers_in(wire)
                if place is not None:
                    rule = "a number of the source's messages"
                    yield Hit(rule=rule, member=BUNDLED, offset=at + place, form="plain")
            if b"\0" in wire:
                for trace in personal.find(wire):
                    yield Hit(
                        rule=_A_WORD, member=BUNDLED, offset=at + trace.offset, form=trace.form
                    )
            at += len(line)


def _whole_lines(path: Path) -> Iterator[bytes]:
    """Read a file in pieces that end where lines do, if there are any."""
    held = b""
    for piece in pieces(path):
        held += piece
        end = held.rfind(b"\n") + 1
        if end or len(held) > 64 * PIECE:
            yield held[: end or len(held)]
            held = held[end or len(held) :]
    if held:
        yield held
