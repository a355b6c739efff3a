"""Records on their way to a collector that closes, hangs, or is not there (at least once)."""

from __future__ import annotations

import errno
import json
import os
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio
import trustme

from popproxy.formats.syslog import Origin
from popproxy.sinks import SinkError, spool
from popproxy.sinks.base import Notices
from popproxy.sinks.collector import Collector
from popproxy.sinks.spool_entries import pack
from popproxy.sinks.syslog_sender import Sender
from popproxy.sinks.syslog_sink import SyslogOptions, SyslogSink
from popproxy.tls.collector import collector_context
from tests.support import samples
from tests.support.collecting_syslog import Connected, FakeCollector, places
from tests.support.ports import free_ports
from tests.support.waiting import until

ORIGIN = Origin(facility="audit", hostname="proxy", app_name="popproxy", procid="1")


def make(
    folder: Path,
    port: int,
    said: list[str] | None = None,
    *,
    queue_octets: int = 16 * 1024 * 1024,
    tls: Callable[[], Any] | None = None,
    host: str = "127.0.0.1",
    **more: Any,
) -> SyslogSink:
    options = SyslogOptions(origin=ORIGIN, spool=str(folder / "spool"), resend=3600)
    return SyslogSink(
        f"syslog+tcp://127.0.0.1:{port}",
        Collector(host=host, port=port, tls=tls),
        replace(options, **more),
        queue_octets=queue_octets,
        gather=0.001,
        retry=0.01,
        first_pause=0.01,
        on_notice=(said if said is not None else []).append,
    )


def put(sink: SyslogSink, first: int, last: int, session: str = "s1") -> list[tuple[str, int]]:
    for seq in range(first, last):
        sink.put(samples.command(session, seq))
    return [(session, seq) for seq in range(first, last)]


async def accepted(collector: FakeCollector) -> Connected:
    return await trio.to_thread.run_sync(collector.accept)


async def read(connected: Connected, number: int) -> list[tuple[str, int]]:
    return places(await trio.to_thread.run_sync(connected.read, number))


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def recovered(sink: SyslogSink) -> None:
    await trio.to_thread.run_sync(until, lambda: sink.healthy, "the recovery")


class Finishing:
    """Reads a connection to its end in a thread, and closes it then, as a collector does."""

    def __init__(self, connected: Connected) -> None:
        self._connected = connected
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        self._connected.read_to_the_end()
        self._connected.close()

    def places(self) -> list[tuple[str, int]]:
        self._thread.join()
        return places(self._connected.messages)


async def test_records_come_in_order_and_a_clean_end_leaves_nothing(tmp_path: Path) -> None:
    with FakeCollector() as collector:
        said: list[str] = []
        sink = make(tmp_path, collector.port, said)
        wanted = put(sink, 1, 2000)
        connected = Finishing(await accepted(collector))
        await sink.close(10)
        assert connected.places() == wanted
    assert (sink.lost, sink.waiting, said) == (0, 0, [])
    assert not list((tmp_path / "spool").glob("*.spool"))


async def test_what_is_left_from_before_is_sent_without_a_new_record(tmp_path: Path) -> None:
    [port] = free_ports(1)
    said: list[str] = []
    sink = make(tmp_path, port, said)
    wanted = put(sink, 1, 100)
    assert await sink.flushed(), "written means in the spool"
    await sink.close(0.2)
    assert sink.lost == 0, "what waits is not lost"
    assert sink.waiting == 99
    assert any("connection refused; " in one for one in said)
    assert said[-1].startswith(f"--syslog syslog+tcp://127.0.0.1:{port}: 99 records stay in ")
    with FakeCollector() as collector:
        after = make(tmp_path, collector.port)
        after.start()
        connected = Finishing(await accepted(collector))
        await after.close(10)
        assert connected.places() == wanted
        assert after.waiting == 0


async def test_a_collector_that_closes_at_once_has_refused_us_and_read_nothing(
    tmp_path: Path,
) -> None:
    spooled = spool.Spool(str(tmp_path / "spool"), spool.LEAST_SIZE)
    spooled.append(pack(b"one"))
    with FakeCollector() as collector:
        place = Collector(host="127.0.0.1", port=collector.port)
        sender = Sender(place, spooled, Notices("--syslog x"), lambda *_: b"")
        sender.start()
        connected = await accepted(collector)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, sender.stop, time.monotonic() + 20)
            await trio.to_thread.run_sync(until, lambda: sender.stopping, "the end to be asked for")
            assert await trio.to_thread.run_sync(connected.read, 1) == [b"one"]
            connected.close()
        assert spooled.waiting == 1


@pytest.mark.parametrize("how", ["close", "reset", "half_close"])
async def test_what_a_collector_took_shortly_before_it_went_is_sent_again(
    how: str, tmp_path: Path
) -> None:
    with FakeCollector() as collector:
        sink = make(tmp_path, collector.port)
        wanted = put(sink, 1, 50)
        first = await accepted(collector)
        assert await read(first, 49) == wanted
        getattr(first, how)()
        second = await accepted(collector)
        wanted += put(sink, 50, 60)
        assert await read(second, 59) == wanted
        finishing = Finishing(second)
        await sink.close(10)
        assert finishing.places() == wanted
        assert sink.waiting == 0


async def test_nothing_is_written_into_a_connection_whose_other_side_has_ended(
    tmp_path: Path,
) -> None:
    with FakeCollector() as collector:
        sink = make(tmp_path, collector.port)
        put(sink, 1, 3)
        first = await accepted(collector)
        await read(first, 2)
        first.half_close()
        second = await accepted(collector)
        put(sink, 3, 1000)
        await read(second, 999)
        assert len(first.read_to_the_end()) == 2
        await sink.close(0.2)


async def test_what_was_acknowledged_long_enough_ago_is_not_sent_again(tmp_path: Path) -> None:
    with FakeCollector() as collector:
        sink = make(tmp_path, collector.port, resend=0.05)
        put(sink, 1, 50)
        first = await accepted(collector)
        await read(first, 49)
        await trio.to_thread.run_sync(until, lambda: sink.waiting == 0, "the confirmation")
        assert not list((tmp_path / "spool").glob("*.spool")) or sink.waiting == 0
        first.reset()
        second = await accepted(collector)
        wanted = put(sink, 50, 60)
        assert await read(second, 10) == wanted
        await sink.close(0.2)


async def test_what_the_other_machine_did_not_acknowledge_is_not_delivered(tmp_path: Path) -> None:
    with FakeCollector(buffer=4096) as collector:
        sink = make(tmp_path, collector.port, resend=0.01, max_size=100_000, bodies=True)
        for seq in range(1, 200):
            sink.put(samples.data("s1", seq, "x" * 60_000))
        first = await accepted(collector)
        await trio.to_thread.run_sync(
            until, lambda: (tmp_path / "spool" / "position").exists(), "the spool"
        )
        assert await sink.flushed()
        await read(first, 2)
        first.reset()
        second = await accepted(collector)
        found = {seq for _, seq in places(first.messages)}
        finishing = Finishing(second)
        await sink.close(20)
        found |= {seq for _, seq in finishing.places()}
        assert found == set(range(1, 200))


async def test_p54_a_collector_that_never_reads_costs_no_memory_and_a_gap_tells_of_it(
    tmp_path: Path,
) -> None:
    with FakeCollector(buffer=4096) as collector:
        said: list[str] = []
        sink = make(tmp_path, collector.port, said, spool_size=spool.LEAST_SIZE)
        sink.start()
        hanging = await accepted(collector)
        last = 1
        while not sink.lost:
            put(sink, last, last + 2000)
            last += 2000
            assert await sink.flushed()
        put(sink, last, last + 10)
        last += 10
        assert await sink.flushed()
        assert sum(one.stat().st_size for one in (tmp_path / "spool").iterdir()) < 1_100_000
        hanging.reset()
        second = await accepted(collector)
        finishing = Finishing(second)
        await sink.close(20)
        found = finishing.places()
        gap, *rest = second.messages
        assert b" gap [popproxy@32473 " in gap
        lost = json.loads(gap[gap.index(b"] {") + 2 :])["gap"]
        assert lost["reason"] == "the spool was full"
        assert lost["records"] == last - 1 - len(rest)
        assert found[1:] == [("s1", seq) for seq in range(lost["records"] + 1, last)]
        assert found[0] == found[1], "the gap stands in the place of what follows"
        # People are told once a minute, so perhaps of the first that were lost only.
        assert any("records are lost: the spool was full" in one for one in said)
        assert sink.lost > 0


async def test_p61_a_full_disk_holds_nothing_up_and_is_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full:
        full = True

        def __getattr__(self, name: str) -> Any:
            return getattr(os, name)

        def write(self, descriptor: int, octets: bytes) -> int:
            if self.full:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return os.write(descriptor, octets)

    disk = Full()
    monkeypatch.setattr(spool, "os", disk)
    with FakeCollector() as collector:
        said: list[str] = []
        sink = make(tmp_path, collector.port, said, queue_octets=64 * 1024)
        put(sink, 1, 1000)
        assert not await sink.flushed()
        assert sink.lost > 0
        disk.full = False
        await recovered(sink)
        put(sink, 1000, 1010, "s2")
        assert await sink.flushed("s2")
        finishing = Finishing(await accepted(collector))
        await sink.close(10)
        found = finishing.places()
        assert found[-10:] == [("s2", seq) for seq in range(1000, 1010)]
        assert sum("cannot be written" in one for one in said) == 1
        assert sum("is written again" in one for one in said) == 1


async def test_p27_sessions_that_need_their_record_end_before_a_full_spool_drops_any(
    tmp_path: Path,
) -> None:
    [port] = free_ports(1)
    sink = make(tmp_path, port, spool_size=spool.LEAST_SIZE)
    last = 1
    while await sink.flushed("s1"):
        put(sink, last, last + 500)
        last += 500
        assert last < 10_000
    assert sink.lost == 0
    await sink.close(0.2)
    after = spool.Spool(str(tmp_path / "spool"), spool.LEAST_SIZE)
    after.open()
    batch = after.read(1)
    assert (batch.missing, places(batch.messages)) == (0, [("s1", 1)])
    after.close()


async def test_lines_that_are_no_records_go_the_same_way(tmp_path: Path) -> None:
    with FakeCollector() as collector:
        sink = make(tmp_path, collector.port)
        line = b'{"event":{"action":"file.checkpoint"},"chain":{"n":3}}\n'
        assert sink.put_line("file.checkpoint", line)
        connected = await accepted(collector)
        [message] = await trio.to_thread.run_sync(connected.read, 1)
        assert message.endswith(b" file.checkpoint - " + line.rstrip())
        assert not sink.put_line("file.checkpoint", b"x" * 9000)
        await sink.close(0.2)


async def test_a_spool_that_another_has_is_waited_for(tmp_path: Path) -> None:
    with FakeCollector() as collector:
        said: list[str] = []
        other = spool.Spool(str(tmp_path / "spool"), spool.LEAST_SIZE)
        other.open()
        sink = make(tmp_path, collector.port, said)
        wanted = put(sink, 1, 10)
        assert not await sink.flushed()
        assert any("another process uses it" in one for one in said)
        other.close()
        finishing = Finishing(await accepted(collector))
        await recovered(sink)
        await sink.close(10)
        assert finishing.places() == wanted


async def test_a_sink_that_was_made_in_vain_leaves_nothing(tmp_path: Path) -> None:
    before = descriptors()
    made = [make(tmp_path, 9) for _ in range(10)]
    assert descriptors() == before
    assert not (tmp_path / "spool").exists()
    for sink in made:
        await sink.close(0)


def test_a_spool_that_cannot_be_made_is_refused_before_traffic(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file")
    with pytest.raises(SinkError, match=r"cannot be used for a spool: .*syslog\.spool"):
        make(tmp_path / "file", 9).check()
    make(tmp_path / "new", 9).check()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def serving(authority: trustme.CA, *, client: bool = False) -> Any:
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    if client:
        context.verify_mode = ssl.CERT_REQUIRED
        authority.configure_trust(context)
    return context


async def test_p32_over_tls_with_a_client_certificate(
    authority: trustme.CA, tmp_path: Path
) -> None:
    ca, pair = tmp_path / "ca.pem", tmp_path / "client.pem"
    authority.cert_pem.write_to_path(ca)
    authority.issue_cert("proxy.example.org").private_key_and_cert_chain_pem.write_to_path(pair)
    with FakeCollector(serving(authority, client=True)) as collector:
        sink = make(
            tmp_path,
            collector.port,
            tls=lambda: collector_context(ca, pair, None),
            host="localhost",
        )
        wanted = put(sink, 1, 3000)
        first = await accepted(collector)
        assert await read(first, 2999) == wanted
        first.reset()
        second = Finishing(await accepted(collector))
        wanted += put(sink, 3000, 3010)
        assert await sink.flushed()
        await sink.close(10)
        assert second.places() == wanted
        assert sink.waiting == 0


async def test_p32_no_record_goes_to_a_collector_that_is_not_who_it_should_be(
    authority: trustme.CA, tmp_path: Path
) -> None:
    ca = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(ca)
    with FakeCollector(serving(authority)) as collector:
        said: list[str] = []
        sink = make(
            tmp_path,
            collector.port,
            said,
            tls=lambda: collector_context(ca, None, None),
            host="localhost",
        )
        put(sink, 1, 3)
        with pytest.raises((OSError, EOFError)):
            await accepted(collector)
        await trio.to_thread.run_sync(until, lambda: said, "a warning")
        assert "its certificate is not accepted" in said[0]
        assert not sink.connected
        await sink.close(0.2)
        assert sink.waiting == 2
