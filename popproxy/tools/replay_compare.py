"""A recorded answer and a live one: whether they differ, and how, in words for a person.

What is free text for people may differ as it likes; what programs read may not: the status
indicator and the response code, the values of STAT, LIST and UIDL, the lines and the octets of a
message, and what it says. Where the recording has a mask, anything may stand.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from popproxy.records import MASK
from popproxy.tools.replay_plan import Step

Depth = Literal["content", "shape"]
"""How much is compared: what messages say, too, or only how many octets and lines they have. A
bundle has other words than its original, and other unique-ids."""

_SHOWN = 60
"""Characters of a line that a difference shows."""
_CODE = re.compile(rb"\[([^]\s]{1,64})[^]]*\]")
_VALUED = frozenset({"STAT", "LIST", "UIDL"})
_MASK = MASK.encode()


def difference(step: Step, answer: bytes, depth: Depth, *, mailbox: bool = True) -> str:
    """Say how a live answer differs from the recorded one.

    Args:
        step: The recorded command with its answer.
        answer: The live answer, line ends included; empty if there was none.
        depth: How much is compared.
        mailbox: Whether the maildrop is in the state that it was in; if not, values and contents
            are not compared.

    Returns:
        The difference; empty if there is none. It may quote what the server said, with octets
        that are not UTF-8 as surrogates: whoever shows it has to make it visible.
    """
    was, now = step.wire, answer
    if not was or not now:
        return _one_silent(was, now)
    first_was, first_now = _first(was), _first(now)
    if _indicator(first_was) != _indicator(first_now):
        return f"recorded {_quoted(_safe(first_was))}, got {_quoted(_safe(first_now))}"
    if _code(first_was) != _code(first_now):
        return f"recorded {_code(first_was) or 'no code'}, got {_code(first_now) or 'no code'}"
    if not mailbox or not step.ok:
        return ""
    if step.content is not None:
        return _contents(step, now, depth)
    if step.command in _VALUED:
        values_was, values_now = _values(step, first_was, depth), _values(step, first_now, depth)
        if values_was != values_now and _MASK not in first_was:
            return f"recorded {_quoted(first_was)}, got {_quoted(first_now)}"
    return ""


def _one_silent(was: bytes, now: bytes) -> str:
    if was == now:
        return ""
    if not was:
        return f"the recorded server did not answer, got {_quoted(_safe(_first(now)))}"
    return f"recorded {_quoted(_safe(_first(was)))}, got no answer"


def _first(answer: bytes) -> bytes:
    return answer.partition(b"\n")[0].rstrip(b"\r")


def _indicator(line: bytes) -> bytes:
    return line.split(b" ", 1)[0]


def _code(line: bytes) -> str:
    found = _CODE.match(line.partition(b" ")[2])
    return f"[{_text(found[1])}]" if found else ""


def _safe(line: bytes) -> bytes:
    """Give what a status line says to programs; its text may quote what was sent."""
    code = _code(line)
    return b" ".join(
        [_indicator(line)[:_SHOWN], *([code.encode("utf-8", "surrogateescape")] if code else [])]
    )


def _quoted(line: bytes) -> str:
    shown = _text(line[: _SHOWN * 4])
    return f'"{shown[:_SHOWN]}{"…" if len(shown) > _SHOWN else ""}"'


def _text(octets: bytes) -> str:
    return octets.decode("utf-8", "surrogateescape")


def _values(step: Step, line: bytes, depth: Depth) -> list[bytes]:
    """Give the numbers of STAT, LIST n and UIDL n; a unique-id counts as content."""
    words = line.split()[1:3]
    return words[:1] if step.command == "UIDL" and depth == "shape" else words


def _contents(step: Step, now: bytes, depth: Depth) -> str:
    assert step.content is not None  # noqa: S101 - says so to the type checker
    was_lines = _lines(step.wire[slice(*step.content)])
    whole = now.endswith((b"\n.\r\n", b"\n.\n"))
    now_lines = _lines(_body(now))
    if step.answer is not None and step.answer.ending != "terminated" and whole:
        return f"the recorded answer ended {step.answer.ending}, and now it is whole"
    if len(was_lines) != len(now_lines):
        return f"recorded {_count(was_lines)}, got {_count(now_lines)}"
    for number, (was, is_now) in enumerate(zip(was_lines, now_lines, strict=True), start=1):
        if not _same(step, was, is_now, depth):
            if was.endswith(b"\r") and is_now.endswith(b"\r"):
                was, is_now = was[:-1], is_now[:-1]
            return (
                f"line {number}: recorded {len(was)} octets {_quoted(was)},"
                f" got {len(is_now)} octets {_quoted(is_now)}"
            )
    return ""


def _body(answer: bytes) -> bytes:
    """Give the content of an answer of several lines: no status line, no final dot."""
    content = answer.partition(b"\n")[2]
    for end in (b".\r\n", b".\n"):
        if content == end or content.endswith(b"\n" + end):
            return content[: -len(end)]
    return content


def _lines(content: bytes) -> list[bytes]:
    lines = content.split(b"\n")
    return lines[:-1] if lines[-1] == b"" else lines


def _count(lines: Sequence[bytes]) -> str:
    octets = sum(len(line) + 1 for line in lines)
    return f"{len(lines):,} lines, {octets:,} octets"


def _same(step: Step, was: bytes, now: bytes, depth: Depth) -> bool:
    if was == now:
        return True
    if step.command == "CAPA":
        return was.upper().split() == now.upper().split()
    if depth == "shape" or step.filled:
        if step.command == "UIDL":
            return was.split(b" ")[:1] == now.split(b" ")[:1]
        if step.command in ("RETR", "TOP"):
            return len(was) == len(now) or _MASK in was or bool(step.filled)
        return False
    if _MASK in was:
        pattern = b".*".join(re.escape(part) for part in was.split(_MASK))
        return re.fullmatch(pattern, now, re.DOTALL) is not None
    return False
