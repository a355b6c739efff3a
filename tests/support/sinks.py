"""Failing disks, and looking at what sinks wrote."""

from __future__ import annotations

import errno
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from popproxy.formats import jsonl
from popproxy.records import GapRecord, Record
from tests.support.waiting import until


class FaultyDisk:
    """Stands for the `os` module in `popproxy.sinks.target`, and fails when it is told to.

    Attributes:
        room: Octets that still fit; None if there is no limit. Beyond it, ENOSPC.
        error: The number of the error with which every write fails; None for none.
        can_truncate: Whether files can be cut.
        can_read: Whether what was written can be looked at.
        writes: How often a write was tried.
        threads: Who wrote.
    """

    def __init__(self) -> None:
        self.room: int | None = None
        self.error: int | None = None
        self.can_truncate = True
        self.can_read = True
        self.writes = 0
        self.threads: set[int] = set()

    def __getattr__(self, name: str) -> Any:
        """Behave like `os` otherwise."""
        return getattr(os, name)

    def write(self, descriptor: int, octets: bytes | memoryview) -> int:
        """Write as much as there is room for."""
        self.writes += 1
        self.threads.add(threading.get_ident())
        if self.error is not None:
            raise OSError(self.error, os.strerror(self.error))
        if self.room is None:
            return os.write(descriptor, octets)
        if self.room <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = os.write(descriptor, octets[: self.room])
        self.room -= written
        return written

    def pread(self, descriptor: int, size: int, place: int) -> bytes:
        """Read, if that is possible here."""
        if not self.can_read:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return os.pread(descriptor, size, place)

    def ftruncate(self, descriptor: int, size: int) -> None:
        """Cut a file, if that is possible here."""
        if not self.can_truncate:
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
        os.ftruncate(descriptor, size)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> FaultyDisk:
    """Put a faulty disk under the sinks."""
    faulty = FaultyDisk()
    monkeypatch.setattr("popproxy.sinks.target.os", faulty)
    return faulty


def lines(path: Path) -> list[bytes]:
    """Give the lines of a file, none if it is not there."""
    return path.read_bytes().splitlines(keepends=True) if path.exists() else []


def records(path: Path) -> list[Record]:
    """Read a JSON-lines file in which every line must parse."""
    return [jsonl.decode(line) for line in lines(path)]


def places(path: Path) -> list[tuple[str, int]]:
    """Give session and number of each record of a JSON-lines file."""
    return [(record.session.id, record.session.seq) for record in records(path)]


def wait_for_lines(path: Path, number: int) -> None:
    """Wait until a file has so many whole lines."""
    until(
        lambda: sum(line.endswith(b"\n") for line in lines(path)) >= number,
        f"{number} lines in {path.name}",
    )


class Pipe:
    """Reads what a sink writes into a FIFO or pipe, as far as it has come."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.octets = b""
        os.set_blocking(descriptor, False)

    def read(self) -> bytes:
        """Read what is there; give everything that was read so far."""
        while True:
            try:
                octets = os.read(self.descriptor, 65536)
            except BlockingIOError:
                return self.octets
            if not octets:
                return self.octets
            self.octets += octets

    def read_until(self, enough: Callable[[bytes], bool], what: str) -> bytes:
        """Read until what came is enough."""
        until(lambda: enough(self.read()), what)
        return self.octets

    def close(self) -> None:
        """Go away."""
        os.close(self.descriptor)


def gaps(octets: bytes) -> list[GapRecord]:
    """Give the gap records among JSON lines."""
    found = [jsonl.decode(line) for line in octets.splitlines()]
    return [record for record in found if isinstance(record, GapRecord)]


def action(line: bytes) -> str:
    """Give a JSON line's `event.action`."""
    return str(json.loads(line)["event"]["action"])
