"""The relay's small parts: loops, admission, session names, diagnostics, housekeeping, notice."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network

import pytest
import trio
import trio.testing

from popproxy.privacy import Policy
from popproxy.relay import Limits, diagnostics, notice
from popproxy.relay.admission import Admission, Refused
from popproxy.relay.diagnostics import Limiter, whereabouts
from popproxy.relay.housekeeping import TICK, Housekeeper
from popproxy.relay.ids import SessionIds
from popproxy.relay.loops import OwnAddresses
from popproxy.relay.service import LONGEST_LINE, temporary_failure


@pytest.mark.parametrize(
    ("listener", "target", "loop"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "::ffff:127.0.0.1", True),
        ("127.0.0.1", "0.0.0.0", True),  # noqa: S104 - connecting there reaches this machine
        ("127.0.0.1", "127.0.0.2", False),
        ("127.0.0.1", "192.0.2.1", False),
        ("127.0.0.1", "::1", False),
        ("::1", "::1", True),
        ("::1", "::", True),
        ("::1", "127.0.0.1", False),
        ("0.0.0.0", "127.0.0.1", True),  # noqa: S104 - a wildcard listener
        ("0.0.0.0", "127.200.3.4", True),  # noqa: S104 - the same
        ("0.0.0.0", "0.0.0.0", True),  # noqa: S104 - the same
        ("0.0.0.0", "192.0.2.1", False),  # noqa: S104 - the same
        ("0.0.0.0", "::1", False),  # noqa: S104 - IPv6 is not listened on
        ("::", "::1", True),
        ("::", "2001:db8::1", False),
        ("::", "127.0.0.1", False),
    ],
)
def test_p59_what_leads_back_to_a_listener(listener: str, target: str, loop: bool) -> None:
    own = OwnAddresses()
    own.listens([(listener, 1110)])
    assert own.leads_back(target, 1110) is loop
    assert not own.leads_back(target, 110)


NETWORK = (ip_network("192.168.1.0/24"), ip_network("2001:db8::/32"))


def test_p55_caps_in_all_and_per_address() -> None:
    admission = Admission(Limits(connections=3, connections_per_client=2))
    admission.enter(("127.0.0.1", 1), ())
    admission.enter(("127.0.0.1", 2), ())
    with pytest.raises(Refused, match="from your address") as caught:
        admission.enter(("127.0.0.1", 3), ())
    assert caught.value.kind == "connections-per-client"
    admission.enter(("127.0.0.2", 1), ())
    with pytest.raises(Refused, match="too many connections, try again"):
        admission.enter(("127.0.0.3", 1), ())
    admission.leave("127.0.0.1")
    admission.enter(("127.0.0.3", 1), ())
    admission.leave("127.0.0.3")
    admission.leave("127.0.0.2")
    admission.leave("127.0.0.1")
    assert not admission._by_address  # addresses that have gone are forgotten


@pytest.mark.parametrize(
    ("client", "admitted"),
    [
        ("192.168.1.7", True),
        ("::ffff:192.168.1.7", True),
        ("2001:db8::7", True),
        ("192.168.2.7", False),
        ("127.0.0.1", False),
        ("::1", False),
    ],
)
def test_p67_only_clients_of_allowed_networks_enter(client: str, admitted: bool) -> None:
    admission = Admission(Limits())
    if admitted:
        admission.enter((client, 1), NETWORK)
    else:
        with pytest.raises(Refused, match="network") as caught:
            admission.enter((client, 1), NETWORK)
        assert caught.value.kind == "network"


def test_session_names_are_unique_sortable_and_fit_for_file_names() -> None:
    ids = SessionIds()
    when = datetime(2011, 10, 29, 22, 37, 46, tzinfo=UTC)
    names = [ids.make(when) for _ in range(5000)]
    names += [ids.make(when + timedelta(seconds=1))]
    assert names == sorted(names)
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"20111029t22374[67]-[0-9a-z]{7}", name) for name in names)
    assert SessionIds().make(when)[:15] == names[0][:15]


def test_p56_a_limiter_lets_a_few_through_and_counts_the_rest() -> None:
    limiter = Limiter(interval=10, burst=2)
    assert [limiter.passes(now) for now in (0, 1, 2, 9.9)] == [True, True, False, False]
    assert limiter.suppressed() == 2
    assert limiter.passes(10)
    assert limiter.suppressed() == 0


def test_p13_whereabouts_name_no_message() -> None:
    def inner() -> None:
        raise ValueError("canary")

    def outer() -> None:
        try:
            inner()
        except ValueError as error:
            raise ExceptionGroup("canary", [ExceptionGroup("canary", [error])]) from error

    with pytest.raises(ExceptionGroup) as caught:
        outer()
    told = whereabouts(caught.value)
    assert told.startswith("ValueError at test_small_parts.py:")
    assert "in inner" in told
    assert "canary" not in told
    assert whereabouts(KeyError("canary")) == "KeyError at an unknown place"


def test_p25_a_log_that_cannot_be_written_disturbs_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(name: str) -> None:
        raise BrokenPipeError(name)

    monkeypatch.setattr(diagnostics, "logger", broken)
    diagnostics.warn("event")
    diagnostics.inform("event")


class Counted:
    """Counts its ticks."""

    route_name = "a"

    def __init__(self) -> None:
        self.ticks = 0
        self.reason = ""

    def tick(self, now: float, at: int) -> None:
        self.ticks += 1

    def end(self, reason: str) -> None:
        self.reason = reason


async def test_housekeeping_sleeps_while_there_is_nothing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    housekeeper = Housekeeper()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(housekeeper.run)
        await housekeeper.empty()
        await trio.sleep(1000)
        many = [Counted() for _ in range(1000)]
        for session in many:
            housekeeper.add(session)
        await trio.sleep(TICK * 10.5)
        assert {session.ticks for session in many} == {10}
        for session in many:
            housekeeper.remove(session)
            housekeeper.remove(session)
        await housekeeper.empty()
        await trio.sleep(10)
        assert {session.ticks for session in many} == {10}
        nursery.cancel_scope.cancel()


def test_p60_our_line_fits_a_response() -> None:
    assert temporary_failure("x") == b"-ERR [SYS/TEMP] popproxy: x\r\n"
    line = temporary_failure("bücher " * 200)
    assert len(line) == LONGEST_LINE
    assert line.isascii()
    assert line.endswith(b"\r\n")


@pytest.mark.parametrize("body", ["full", "headers", "none"])
@pytest.mark.parametrize("mask_users", [True, False])
def test_p71_the_notice_says_what_is_recorded_and_what_is_masked(
    body: str, mask_users: bool
) -> None:
    text = notice(Policy(body=body, mask_users=mask_users))  # type: ignore[arg-type] # parametrized
    assert "records" in text
    assert "passwords" in text
    assert ("pseudonyms" in text) is mask_users
    assert "keys" not in text


def test_p16_the_notice_says_that_keys_are_written() -> None:
    text = notice(Policy(), keys_logged=True)
    assert text.startswith(notice(Policy()).removesuffix("."))
    assert "the keys of TLS connections are written to a file" in text
