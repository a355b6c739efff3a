from __future__ import annotations

from datetime import UTC

import pytest

from popproxy.formats import WRITERS, Kind, Writer, writer_for
from tests.support.capture import plain_session


@pytest.mark.parametrize("kind", WRITERS)
def test_there_is_a_writer_for_each_format(kind: Kind) -> None:
    writer: Writer = writer_for(kind, tz=UTC)
    file = b"".join(map(writer.write, plain_session().records)) + writer.end()
    assert b"+OK send your password" in file
    assert b"pass ********" in file


def test_p71_each_log_that_has_room_for_it_says_that_mail_is_recorded() -> None:
    for kind in ("jsonl", "text", "pcapng"):
        writer = writer_for(kind)
        head = b"".join(map(writer.write, plain_session().records[:1]))
        assert b"Mail is being recorded" in head


def test_the_mode_of_a_putty_log_can_be_chosen() -> None:
    message = plain_session().records
    files = [
        b"".join(map(writer_for("putty", putty_mode=mode).write, message))
        for mode in ("printable", "all")
    ]
    assert b"\\x1b[31m" in files[0]
    assert b"\x1b[31m" in files[1]
