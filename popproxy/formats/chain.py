"""The running hash that seals JSON lines: whoever changes a line has to change all behind it.

Each line's last member is `"chain":{"n":…,"sha256":"…"}`. `n` counts lines from 1. The hash is
that of 32 octets, the hash of the line before (zeros in front of the first), and of the line as it
is written up to, and without, `,"chain":`. What is hashed is what is written: masks, pseudonyms
and bodies that were left out are inside the chain as such, and nobody needs a secret to verify it.

A chain goes on from file to file where only one is written at a time; `popproxy.formats.file_lines`
tells how a file says what it continues. A chain alone shows any change but one: that somebody who
may write the file made everything anew from some line on. Against that, the hash of a line has to
be where they cannot write: signed by a key that they lack, or sent elsewhere while it was made.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final, NamedTuple

_MEMBER: Final = b',"chain":'
_END: Final = b"}\n"
_LINK: Final = re.compile(rb'\{"n":([1-9][0-9]{0,17}),"sha256":"([0-9a-f]{64})"\}\}\r?\n?')


class State(NamedTuple):
    """How far a chain has come.

    Attributes:
        n: Number of the last line; 0 in front of the first.
        digest: Its hash, 32 octets.
    """

    n: int
    digest: bytes


START: Final = State(0, bytes(32))
"""In front of a chain's first line."""


def seal(state: State, line: bytes) -> tuple[State, bytes]:
    """Add the chain's next link to a line.

    Args:
        state: What the line before left.
        line: A JSON object with at least one member, ended by LF, without a link.

    Returns:
        The chain's new state, and the sealed line.

    Raises:
        ValueError: The line is not ended by a brace and LF.
    """
    if not line.endswith(_END):
        raise ValueError("a line to be sealed has to be a JSON object, ended by LF")
    body = line[:-2]
    digest = hashlib.sha256(state.digest + body)
    sealed = b'%b,"chain":{"n":%d,"sha256":"%b"}}\n' % (
        body,
        state.n + 1,
        digest.hexdigest().encode(),
    )
    return State(state.n + 1, digest.digest()), sealed


def behind(state: State, line: bytes) -> State:
    """Give the chain behind a line as it stands, whatever the line says of it.

    Args:
        state: What the line before left.
        line: The line, with its link.
    """
    body = line.rpartition(_MEMBER)[0]
    return State(state.n + 1, hashlib.sha256(state.digest + body).digest())


def follows(state: State, line: bytes) -> State | None:
    """Check that a line is the next of a chain; the fast way, for those that are.

    Args:
        state: What the line before left.
        line: The line, its LF included.

    Returns:
        The chain's new state; None if the line is anything else.
    """
    body, _, link = line.rpartition(_MEMBER)
    digest = hashlib.sha256(state.digest + body)
    if link == b'{"n":%d,"sha256":"%b"}}\n' % (state.n + 1, digest.hexdigest().encode()):
        return State(state.n + 1, digest.digest())
    return None


def link_of(line: bytes) -> State | None:
    """Give what a line says of its place in a chain, true or not.

    Args:
        line: The line; its end may be missing, or be CR LF.

    Returns:
        Its number and hash; None if it has no link.
    """
    found = _LINK.fullmatch(line.rpartition(_MEMBER)[2])
    return State(int(found[1]), bytes.fromhex(found[2].decode())) if found else None
