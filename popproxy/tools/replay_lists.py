"""Lists of capabilities and mechanisms, made true for the server that replays them.

A replay speaks TLS as it is told to, and can hold only some SASL exchanges, as others are computed
from a password that no recording has. A client that was offered the others would choose one of
them and fail, so they are taken out, line by line as in `popproxy.relay.lists`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from popproxy.relay.lists import Edits
from popproxy.tools.replay_plan import Piece, Step

MECHANISMS = frozenset(
    {b"PLAIN", b"LOGIN", b"CRAM-MD5", b"XOAUTH2", b"OAUTHBEARER", b"EXTERNAL", b"ANONYMOUS"}
)
"""SASL mechanisms in which a server can accept whatever the client sends."""
_LINE = re.compile(rb"[^\n]*\n|[^\n]+")
_LISTS = frozenset({"CAPA", "AUTH"})


def is_list(step: Step) -> bool:
    """Say whether a step's answer is a list of capabilities or mechanisms."""
    return step.command in _LISTS and step.content is not None


def adapted(step: Step, edits: Edits) -> tuple[Piece, ...]:
    """Give the pieces of a list as they are to be served.

    Args:
        step: The step, whose answer is a list.
        edits: What becomes of STLS.

    Returns:
        The pieces; those up to the first change are as they were recorded.
    """
    if step.content is None:
        return step.pieces
    wire, (start, end) = step.wire, step.content
    content, _changes = edits.apply(step.command.encode(), wire[start:end])
    content = b"".join(_without(step.command, line) for line in _LINE.findall(content))
    return _recut(step.pieces, wire[:start] + content + wire[end:])


def left_out(steps: Sequence[Step]) -> list[str]:
    """List the mechanisms that are taken out of a session's lists."""
    found: dict[str, None] = {}
    for step in steps:
        if is_list(step) and step.content is not None:
            for line in _LINE.findall(step.wire[slice(*step.content)]):
                words = line.upper().split()
                if step.command == "CAPA":
                    words = words[1:] if words[:1] == [b"SASL"] else []
                found |= {
                    word.decode("ascii", "replace"): None
                    for word in words
                    if word not in MECHANISMS
                }
    return list(found)


def _without(command: str, line: bytes) -> bytes:
    """Take mechanisms out of a line; all of it goes if none is left."""
    words = line.split()
    first = words[0].upper() if words else b""
    if command == "AUTH":
        return line if first in MECHANISMS or not words else b""
    if first != b"SASL":
        return line
    kept = [word for word in words[1:] if word.upper() in MECHANISMS]
    if len(kept) == len(words) - 1:
        return line
    end = line[len(line.rstrip(b"\r\n")) :]
    return b" ".join([words[0], *kept]) + end if kept else b""


def _recut(pieces: tuple[Piece, ...], wire: bytes) -> tuple[Piece, ...]:
    """Cut octets as pieces were cut, as far as the octets are the same; the rest is the last."""
    out: list[Piece] = []
    start = 0
    for number, piece in enumerate(pieces):
        size = len(piece.data)
        last = number + 1 == len(pieces)
        if last or wire[start : start + size] != piece.data:
            out.append(replace(piece, data=wire[start:]))
            break
        out.append(piece)
        start += size
    return tuple(out)
