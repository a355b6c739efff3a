from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import msgspec
import pytest

from popproxy.cli.config import Configuration
from popproxy.cli.settings import FilesSettings, RouteSettings, Settings
from popproxy.cli.wiring import (
    check,
    make_limits,
    make_policy,
    make_routes,
    make_timeouts,
)
from popproxy.relay import Limits, Timeouts, Url

EVERYWHERE = "0.0.0.0"  # noqa: S104 - only named; nothing is bound here


class _Origins(dict[Any, str]):
    def __missing__(self, key: Any) -> str:
        return ".".join(map(str, key))


def configured(*routes: RouteSettings, **record: Any) -> Configuration:
    settings = Settings(route=list(routes))
    settings = msgspec.structs.replace(
        settings, record=msgspec.structs.replace(settings.record, **record)
    )
    return Configuration(settings, _Origins(), "popproxy.toml")


def route(listen: str = "pop3://127.0.0.1:1110", **more: Any) -> RouteSettings:
    return RouteSettings(**{"upstream": "pop3://pop.example.org", "listen": listen, **more})


def mistakes(*routes: RouteSettings, **record: Any) -> list[str]:
    return [str(problem) for problem in check(configured(*routes, **record))]


def test_routes_are_made() -> None:
    problems: list[Any] = []
    (made,) = make_routes(
        configured(route("pop3://192.0.2.1", allow=["192.0.2.0/24", "2001:db8::/32"])), problems
    )
    assert problems == []
    assert made.name == "pop.example.org:110"
    assert made.listen == Url("pop3", "192.0.2.1", 1110)
    assert made.upstream == Url("pop3", "pop.example.org", 110)
    assert made.allow == (ip_network("192.0.2.0/24"), ip_network("2001:db8::/32"))


def test_who_the_client_is_is_made() -> None:
    problems: list[Any] = []
    plain, told = make_routes(
        configured(
            route(), route("pop3://127.0.0.1:1111", proxy_from=["192.0.2.10/32"], proxy_to="v2")
        ),
        problems,
    )
    assert problems == []
    assert (plain.proxy_from, plain.proxy_to) == ((), "none")
    assert (told.proxy_from, told.proxy_to) == ((ip_network("192.0.2.10/32"),), "v2")


def test_a_load_balancer_that_is_no_network_is_named() -> None:
    [mistake] = mistakes(route(proxy_from=["192.0.2.10/24"]))
    assert "route.proxy_from" in mistake
    assert "did you mean 192.0.2.0/24?" in mistake


def test_defaults_make_the_relays_defaults() -> None:
    configuration = configured()
    assert make_limits(configuration) == Limits()
    assert make_timeouts(configuration) == Timeouts()
    policy = make_policy(configuration)
    assert (policy.body, policy.mask_users, policy.require_log) == ("full", False, False)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (route(upstream=""), "no server is named"),
        (route(upstream="pop.example.org"), "write pop3://pop.example.org:110"),
        (route(upstream="pop4://x"), "route.0.upstream: route.upstream:"),
        (route("pop3://127.0.0.1:70000"), "is not a port"),
        (route("pop3://"), "write"),
        (route(allow=["10.0.0.1/8"]), "did you mean 10.0.0.0/8?"),
        (route(allow=["everybody"]), "192.0.2.0/24"),
    ],
)
def test_what_is_wrong_with_a_route_is_said_with_its_place(
    settings: RouteSettings, said: str
) -> None:
    (mistake,) = mistakes(settings)
    assert said in mistake


@pytest.mark.parametrize(
    ("listen", "upstream", "expected"),
    [
        ("pop3s://127.0.0.1", "pop3s://a", (Url("pop3s", "127.0.0.1", 1995), 995)),
        ("pop3+stls://127.0.0.1", "pop3+stls://a", (Url("pop3+stls", "127.0.0.1", 1110), 110)),
    ],
)
def test_urls_of_tls_have_their_ports(
    listen: str, upstream: str, expected: tuple[Url, int]
) -> None:
    (made,) = make_routes(configured(route(listen, upstream=upstream)), [])
    assert (made.listen, made.upstream.port) == expected


def test_p14_a_password_in_a_url_is_not_repeated() -> None:
    (mistake,) = mistakes(route(upstream="pop3://me:hunter2-canary@pop.example.org"))
    assert "canary" not in mistake


@pytest.mark.parametrize("host", [EVERYWHERE, "192.0.2.1", "[::]", "mail.example.org"])
def test_p67_other_machines_need_an_allow_list(host: str) -> None:
    (mistake,) = mistakes(route(f"pop3://{host}:1110"))
    assert "--allow" in mistake
    assert mistakes(route(f"pop3://{host}:1110", allow=["192.0.2.0/24"])) == []


def test_two_routes_on_one_port() -> None:
    (mistake,) = mistakes(route(), route(upstream="pop3://other.example.org"))
    assert "two routes listen on pop3://127.0.0.1:1110" in mistake
    (mistake,) = mistakes(route(), route("pop3+stls://127.0.0.1", upstream="pop3s://other.example"))
    assert "two routes listen on pop3+stls://127.0.0.1:1110" in mistake
    assert mistakes(route("pop3://127.0.0.1:0"), route("pop3://127.0.0.1:0")) == []


@pytest.mark.parametrize(
    ("listen", "upstream"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.1", "localhost"),
        ("localhost", "127.0.0.1"),
        (EVERYWHERE, "127.0.0.1"),
        ("[::]", "[::1]"),
        ("mail.example.org", "mail.example.org"),
    ],
)
def test_p59_a_route_onto_itself(listen: str, upstream: str) -> None:
    settings = route(
        f"pop3://{listen}:2110", upstream=f"pop3://{upstream}:2110", allow=["10.0.0.0/8"]
    )
    (mistake,) = mistakes(settings)
    assert "a loop" in mistake


def test_p59_two_routes_onto_each_other() -> None:
    there = route("pop3://127.0.0.1:1", upstream="pop3://127.0.0.1:2")
    back = route("pop3://127.0.0.1:2", upstream="pop3://127.0.0.1:1")
    assert len([mistake for mistake in mistakes(there, back) if "a loop" in mistake]) == 2


@pytest.mark.parametrize(
    ("listen", "upstream"),
    [("127.0.0.1", "127.0.0.2"), (EVERYWHERE, "192.0.2.1"), (EVERYWHERE, "[::1]")],
)
def test_neighbours_are_no_loop(listen: str, upstream: str) -> None:
    settings = route(
        f"pop3://{listen}:2110", upstream=f"pop3://{upstream}:2110", allow=["10.0.0.0/8"]
    )
    assert mistakes(settings) == []


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({"jsonl": ["-"], "text": ["-"]}, "would both write to standard output"),
        ({"jsonl": ["-", "-"]}, "would both write"),
        ({"jsonl": ["-"], "text": ["/dev/stdout"]}, "would both write"),
        ({"jsonl": ["logs/"]}, "names a directory"),
        ({"text": [""]}, "empty"),
        ({"text": ["a", "a"]}, "named twice"),
        ({"text": ["a"], "jsonl": ["a"]}, "is also the path of jsonl"),
    ],
)
def test_outputs_that_cannot_work(record: dict[str, list[str]], said: str) -> None:
    found = mistakes(route(), **record)
    assert any(said in mistake for mistake in found), found


def test_one_output_of_each_kind_is_fine() -> None:
    assert mistakes(route(), jsonl=["-"], text=["a"], putty=["b-&S"]) == []


@pytest.mark.parametrize(("size", "right"), [(0, True), (1, False), (65535, False), (65536, True)])
def test_p62_a_size_that_would_make_a_file_of_every_few_records(size: int, *, right: bool) -> None:
    settings = Settings(route=[route()], files=FilesSettings(rotate_size=size))
    found = [str(each) for each in check(Configuration(settings, _Origins(), "popproxy.toml"))]
    what = f"expected 0 or a whole number of at least 65536, found {size}"
    assert found == ([] if right else [f"files.rotate_size: files.rotate_size: {what}"])
