"""What an attacker of the core found, each in its shortest form."""

from __future__ import annotations

from collections.abc import Iterable

from tests.support.core import read, story, timeless, turns


def test_p75_a_status_inside_a_line_of_65_536_octets_and_more_is_none() -> None:
    # HELP's response may end at a status line; where a piece of content ends no line begins.
    conversation = turns(
        "S: +OK ready",
        b"C: HELP\r\nNOOP\r\n",
        b"S: +OK\r\n" + b"x" * 65_536 + b"+OK forged\r\n.\r\n+OK\r\n",
    )

    def behind_the_piece(data: bytes) -> Iterable[bytes]:
        return [data[:65_550], data[65_550:]] if len(data) > 65_550 else [data]

    events = read(conversation)
    assert "S1 terminated" in story(events)
    assert timeless(read(conversation, behind_the_piece)) == timeless(events)
