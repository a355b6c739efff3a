"""Messages never make the relay wait, whoever does not read them (P54)."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from popproxy.cli.unhurried import MESSAGES, UnhurriedStream


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def read_all_of(stream: UnhurriedStream, reader: int, size: int) -> bytes:
    read = b""
    while len(read) < size:
        read += os.read(reader, 65_536)
    stream.close(5)
    return read


def test_messages_arrive_in_order(pipe: tuple[int, int]) -> None:
    stream = UnhurriedStream(pipe[1])
    for number in range(50):
        assert stream.write(f"message {number}\n") == len(f"message {number}\n")
    stream.flush()
    expected = "".join(f"message {number}\n" for number in range(50)).encode()
    assert read_all_of(stream, pipe[0], len(expected)) == expected


def test_p54_a_reader_that_does_not_read_holds_nobody_up_and_losses_are_counted(
    pipe: tuple[int, int],
) -> None:
    stream = UnhurriedStream(pipe[1])
    first = "x" * 199_999 + "\n"  # more than a pipe holds: the thread waits in it
    stream.write(first)
    os.read(pipe[0], 1)  # it has begun
    for number in range(MESSAGES + 50):
        stream.write(f"{number:04}\n")  # returns, or the test would never end
    expected = len(first) - 1 + 5 * MESSAGES
    read = b""
    while len(read) < expected:
        read += os.read(pipe[0], 65_536)
    assert read.endswith(f"{MESSAGES - 1:04}\n".encode())
    stream.write("the end\n")
    stream.close(5)
    assert os.read(pipe[0], 65_536) == b"(50 messages could not be shown)\nthe end\n"


def test_a_reader_that_has_gone_is_no_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    stream = UnhurriedStream(writer)
    stream.write("nobody reads this\n")
    stream.write("nor this\n")
    stream.close(5)
    os.close(writer)


def test_closing_without_a_message_is_no_error(pipe: tuple[int, int]) -> None:
    UnhurriedStream(pipe[1]).close(1)
