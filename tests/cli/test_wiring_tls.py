from __future__ import annotations

import dataclasses
import io
import tomllib
from pathlib import Path
from typing import Any

import pytest

from popproxy.cli.config import Configuration, Layers, build
from popproxy.cli.diagnostics import Diagnostics
from popproxy.cli.errors import ConfigurationError
from popproxy.cli.routes import read_route_options
from popproxy.cli.sayings import say_waiting
from popproxy.cli.sources import read_text
from popproxy.cli.wiring import check, make_routes
from popproxy.cli.wiring_tls import pinned, setup_error, warnings
from popproxy.relay import Route
from popproxy.tls.failures import TlsSetupError
from popproxy.tls.settings import ListenerTls, UpstreamTls

DIGITS = "0123456789abcdef" * 4
PIN = f"sha256:{DIGITS}"
COLONS = ":".join(DIGITS[n : n + 2] for n in range(0, 64, 2)).upper()
HOME = Path("/home/of/authority")


def configured(text: str, checked: bool = True, **options: object) -> Configuration:
    layers = Layers()
    read_text(layers, text, "popproxy.toml")
    read_route_options(
        layers, [], [], [], {("route", key): (f"--{key}", value) for key, value in options.items()}
    )
    return build(layers, check if checked else None)


def a_route(**settings: Any) -> str:
    """Write a route as TOML."""
    settings = {"listen": "pop3s://127.0.0.1", "upstream": "pop3s://pop.example.org", **settings}
    lines = (
        f"{key} = {str(value).lower() if isinstance(value, bool) else repr(value)}"
        for key, value in settings.items()
    )
    return "[[route]]\n" + "\n".join(lines) + "\n"


def made(text: str) -> Route:
    (route,) = make_routes(configured(text, checked=False), [], HOME)
    return route


def mistakes(text: str, **options: object) -> list[str]:
    try:
        configured(text, True, **options)
    except ConfigurationError as error:
        return [str(problem) for problem in error.problems]
    return []


# What the relay is told


def test_without_settings_the_relay_gets_its_defaults() -> None:
    route = made(a_route())
    assert route.stls == "intercept"
    assert route.listener_tls == ListenerTls(authority=HOME)
    assert route.upstream_tls == UpstreamTls()


def test_all_settings_of_tls_reach_the_relay() -> None:
    text = a_route(
        listen="pop3://127.0.0.1",
        stls="hide",
        cert="c.pem",
        key="c.key",
        client_tls_minimum="1.1",
        upstream_ca="ca.pem",
        pin=[PIN, f"SHA256:{COLONS}"],
        insecure=True,
        client_certificate="me.pem",
        client_key="me.key",
        server_name="a.example",
        sni="b.example",
        upstream_tls_minimum="1.3",
    )
    route = made(text + '[tls]\nauthority = "/ours"\nkeys = "x.SECRET"\n')
    assert route.stls == "hide"
    assert route.listener_tls == ListenerTls(
        authority=Path("/ours"),
        certificate=Path("c.pem"),
        key=Path("c.key"),
        minimum="1.1",
        key_log=Path("x.SECRET"),
    )
    assert route.upstream_tls == UpstreamTls(
        ca=Path("ca.pem"),
        pins=(PIN,),
        insecure=True,
        certificate=Path("me.pem"),
        key=Path("me.key"),
        server_name="a.example",
        sni="b.example",
        minimum="1.3",
        key_log=Path("x.SECRET"),
    )


@pytest.mark.parametrize(("said", "told"), [("", None), ("none", ""), ("x.example", "x.example")])
def test_the_name_to_ask_for(said: str, told: str | None) -> None:
    assert made(a_route(sni=said)).upstream_tls.sni == told


# Pins


@pytest.mark.parametrize(
    "text",
    [
        PIN,
        PIN.upper(),
        f" {PIN} ",
        f"sha256:{COLONS}",
        f"sha256 Fingerprint={COLONS}",
        f"SHA256 Fingerprint={COLONS}",
    ],
)
def test_p32_pins_are_taken_as_openssl_prints_them(text: str) -> None:
    assert pinned(text) == PIN
    assert mistakes(a_route(pin=[text])) == []


@pytest.mark.parametrize(
    ("pin", "hint"),
    [
        (DIGITS, f"write {PIN}"),
        (COLONS, f"write {PIN}"),
        (f"sha1:{DIGITS[:40]}", "that is SHA-1"),
        (DIGITS[:40], "that is SHA-1"),
        (PIN[:-1], "it has 63"),
        (PIN + "0", "it has 65"),
        ("sha256//" + "A" * 43 + "=", "a pin of a key, as curl has them"),
        ("", "openssl x509"),
        ("sha256:" + "g" * 64, "openssl x509"),
        (f"{PIN}\n{PIN}", "openssl x509"),
    ],
)
def test_p32_what_is_no_pin_is_told_with_the_nearest_form(pin: str, hint: str) -> None:
    assert pinned(pin) is None
    (mistake,) = mistakes(a_route(pin=[PIN, pin]).replace("\\n", " "))
    assert mistake.startswith(
        "popproxy.toml:4: route.pin: expected sha256: and 64 hexadecimal digits, found "
    )
    assert hint in mistake
    assert len(mistake) < 300


def test_p32_a_pin_and_any_certificate_contradict_each_other() -> None:
    (mistake,) = mistakes(a_route(pin=[PIN], insecure=True))
    assert "popproxy.toml:5: route.insecure: accepts any certificate, and pin only" in mistake


# Files and names


@pytest.mark.parametrize(
    ("key", "certificate"), [("key", "cert"), ("client_key", "client_certificate")]
)
def test_a_key_needs_its_certificate(key: str, certificate: str, tmp_path: Path) -> None:
    file = tmp_path / "x.pem"
    file.touch()
    (mistake,) = mistakes(a_route(**{key: str(file)}))
    assert f"popproxy.toml:4: route.{key}: a key without its certificate" in mistake
    assert f"with {certificate} or --" in mistake
    assert mistakes(a_route(**{key: str(file), certificate: str(file)})) == []
    assert mistakes(a_route(**{certificate: str(file)})) == []


@pytest.mark.parametrize("key", ["cert", "upstream_ca", "client_certificate"])
def test_files_that_are_not_there_are_told_with_the_nearest_name(key: str, tmp_path: Path) -> None:
    (tmp_path / "server.pem").touch()
    (mistake,) = mistakes(a_route(**{key: f"{tmp_path}/sever.pem"}))
    assert f"popproxy.toml:4: route.{key}: there is no file {tmp_path}/sever.pem" in mistake
    assert f"did you mean {tmp_path}/server.pem?" in mistake
    (mistake,) = mistakes(a_route(**{key: f"{tmp_path}/quite-another-thing"}))
    assert mistake.endswith("quite-another-thing")
    (mistake,) = mistakes(a_route(**{key: f"{tmp_path}/gone/server.pem"}))
    assert f"there is no folder {tmp_path}/gone, either" in mistake
    (mistake,) = mistakes(a_route(**{key: f"{tmp_path}/server.pem/x"}))
    assert f"there is no folder {tmp_path}/server.pem, either" in mistake
    (mistake,) = mistakes(a_route(**{key: str(tmp_path)}))
    assert "is a folder" in mistake


def test_a_file_that_only_another_user_can_see_is_no_mistake_yet(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(_: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "stat", refuse)
    assert mistakes(a_route(cert="/somewhere/private/x.pem")) == []


@pytest.mark.parametrize("key", ["server_name", "sni"])
@pytest.mark.parametrize("name", ["pop3s://a.example", "a.example:995", "a b", "-a", "[::1]"])
def test_names_of_servers_are_names_alone(key: str, name: str) -> None:
    (mistake,) = mistakes(a_route(**{key: name}))
    assert f"popproxy.toml:4: route.{key}: {name!r} is no host name" in mistake


def test_an_address_can_be_verified_but_not_asked_for() -> None:
    assert mistakes(a_route(server_name="192.0.2.1")) == []
    assert mistakes(a_route(server_name="::1", sni="none")) == []
    (mistake,) = mistakes(a_route(sni="192.0.2.1"))
    assert "RFC 6066" in mistake


# Settings without an effect


_CLIENTS = {"client_tls_minimum": "1.3"}
_SERVER: dict[str, object] = {
    "pin": [PIN],
    "server_name": "a.example",
    "sni": "none",
    "upstream_tls_minimum": "1.3",
}


@pytest.mark.parametrize("stls", ["intercept", "pass", "hide"])
@pytest.mark.parametrize("listen", ["pop3", "pop3s", "pop3+stls"])
@pytest.mark.parametrize("upstream", ["pop3", "pop3s", "pop3+stls"])
def test_settings_of_a_leg_without_tls_are_mistakes_in_any_pairing(
    listen: str, upstream: str, stls: str
) -> None:
    urls = {"listen": f"{listen}://127.0.0.1", "upstream": f"{upstream}://pop.example.org"}
    found = mistakes(a_route(**urls, stls=stls, **_CLIENTS, **_SERVER))
    clients_idle = [one for one in found if "route.client_tls_minimum" in one]
    server_idle = [one for one in found if any(f"route.{key}:" in one for key in _SERVER)]
    modes = [one for one in found if "route.stls" in one]
    assert len(found) == len(clients_idle) + len(server_idle) + len(modes)
    never_with_clients = listen == "pop3" and stls != "intercept"
    never_with_server = upstream == "pop3" and (listen != "pop3" or stls != "intercept")
    assert len(clients_idle) == (1 if never_with_clients else 0)
    assert len(server_idle) == (len(_SERVER) if never_with_server else 0)
    impossible = stls != "intercept" and (
        listen != "pop3" or (stls == "pass" and upstream != "pop3")
    )
    assert len(modes) == (1 if impossible else 0)


def test_what_has_no_effect_is_told_with_its_place_and_the_url_that_would_help() -> None:
    (mistake,) = mistakes(a_route(upstream="pop3://pop.example.org", pin=[PIN]))
    assert mistake == (
        "popproxy.toml:4: route.pin: popproxy never speaks TLS with pop3://pop.example.org:110 here"
        " (write pop3s://pop.example.org, or pop3+stls:// if it has STLS)"
    )
    (mistake,) = mistakes(
        a_route(
            listen="pop3://[::1]",
            upstream="pop3://a.example",
            stls="pass",
            client_tls_minimum="1.3",
        )
    )
    assert "listen on pop3s://[::1]" in mistake


def test_a_setting_that_says_the_default_is_no_mistake() -> None:
    text = a_route(upstream="pop3://a", pin=[], insecure=False, upstream_tls_minimum="1.2", sni="")
    assert mistakes(text) == []


def test_an_option_may_be_without_effect_on_some_routes() -> None:
    plain = a_route(listen="pop3s://127.0.0.1:1", upstream="pop3://a")
    under_tls = a_route(listen="pop3s://127.0.0.1:2", upstream="pop3s://b")
    assert mistakes(plain + under_tls, upstream_tls_minimum="1.3") == []
    also_plain = plain.replace("0.1:1", "0.1:2")
    (mistake,) = mistakes(plain + also_plain, upstream_tls_minimum="1.3")
    assert mistake.startswith("option --upstream_tls_minimum: popproxy never speaks TLS")


@pytest.mark.parametrize("upstream", ["pop3s", "pop3+stls"])
def test_tls_cannot_be_passed_on_inside_tls(upstream: str) -> None:
    clear = a_route(listen="pop3://127.0.0.1:1", upstream="pop3://a")
    other = a_route(listen="pop3://127.0.0.1:2", upstream=f"{upstream}://b.example:7")
    (mistake,) = mistakes(clear + other, stls="pass")  # though one route could do it
    assert "popproxy itself speaks it" in mistake
    assert "use pop3://b.example:110" in mistake


# The file of keys


def test_p16_the_name_of_a_file_of_keys_says_what_it_is() -> None:
    (mistake,) = mistakes(a_route() + '[tls]\nkeys = "my keys"\n')
    assert mistake.startswith("popproxy.toml:5: tls.keys: the name of a file of keys ends in")
    assert "write 'my keys.SECRET'" in mistake
    assert mistakes(a_route() + '[tls]\nkeys = "keys.SECRET"\n') == []


def test_p16_keys_that_nobody_makes_are_not_written() -> None:
    passed = a_route(listen="pop3://127.0.0.1", upstream="pop3://a", stls="pass")
    (mistake,) = mistakes(passed + '[tls]\nkeys = "keys.SECRET"\n')
    assert "speaks TLS on no route" in mistake
    assert mistakes(passed.replace("pass", "intercept") + '[tls]\nkeys = "k.SECRET"\n') == []


# Everything at once


def test_all_mistakes_of_tls_are_told_at_once() -> None:
    text = """\
[[route]]
upstream = "pop3://pop.example.org"
stls = "pass"
key = "/nowhere/x.key"
pin = ["sha1:00"]
insecure = true
server_name = "a b"
[[route]]
listen = "pop3+stls://127.0.0.1"
upstream = "pop3s://pop.example.org"
stls = "hide"
cert = "/nowhere/x.pem"
[tls]
keys = "keys"
"""
    assert tomllib.loads(text)
    assert sorted(one.partition(" ")[0] + one.split(" ")[1] for one in mistakes(text)) == [
        "popproxy.toml:11:route.stls:",
        "popproxy.toml:12:route.cert:",
        "popproxy.toml:14:tls.keys:",
        "popproxy.toml:4:route.key:",
        "popproxy.toml:4:route.key:",
        "popproxy.toml:4:route.key:",
        "popproxy.toml:5:route.pin:",
        "popproxy.toml:5:route.pin:",
        "popproxy.toml:6:route.insecure:",
        "popproxy.toml:6:route.insecure:",
        "popproxy.toml:7:route.server_name:",
        "popproxy.toml:7:route.server_name:",
        "popproxy.toml:9:route.listen:",
    ]


# What is said at the start


@pytest.mark.parametrize(
    ("scheme", "cert", "said"),
    [
        ("pop3", None, ["no encryption"]),
        ("pop3s", None, ["SSL/TLS", "popproxy help trust"]),
        ("pop3+stls", None, ["STARTTLS", "popproxy help trust"]),
        ("pop3s", "x.pem", ["SSL/TLS"]),
    ],
)
def test_what_a_mail_client_has_to_be_told_is_said_in_its_words(
    scheme: str, cert: str | None, said: list[str]
) -> None:
    route = made(a_route(listen=f"{scheme}://127.0.0.1:0", **({"cert": cert} if cert else {})))
    stream = io.StringIO()
    diagnostics = Diagnostics(level="info", form="console", colors=False, stream=stream)
    say_waiting(diagnostics, dataclasses.replace(route.listen, port=2995), route.listener_tls)
    lines = stream.getvalue().splitlines()
    assert "server 127.0.0.1, port 2995" in lines[0]
    assert len(lines) == len(said)
    assert all(words in line for words, line in zip(said, lines, strict=True))


def warned(text: str) -> list[str]:
    return list(warnings(make_routes(configured(text, checked=False), [], HOME)))


def test_nothing_is_warned_about_by_default() -> None:
    assert warned(a_route()) == []


def test_p32_an_unverified_server_is_named_for_each_route() -> None:
    first = a_route(name="one", listen="pop3s://127.0.0.1:1", insecure=True)
    second = a_route(name="two", listen="pop3s://127.0.0.1:2")
    third = a_route(name="three", listen="pop3s://127.0.0.1:3", insecure=True)
    one, three = warned(first + second + third)
    assert "route one: --insecure: nobody verifies that pop.example.org" in one
    assert "route three" in three


def test_p39_versions_that_are_unsafe_are_named_for_each_leg() -> None:
    clients, server = warned(a_route(client_tls_minimum="1.0", upstream_tls_minimum="1.1"))
    assert "clients may speak TLS 1.0" in clients
    assert "the server may speak TLS 1.1" in server
    assert warned(a_route(client_tls_minimum="1.2", upstream_tls_minimum="1.3")) == []


def test_p16_a_file_of_keys_is_named_once_with_the_danger() -> None:
    routes = a_route() + a_route(listen="pop3s://127.0.0.1:1")
    (warning,) = warned(routes + '[tls]\nkeys = "x.SECRET"\n')
    assert "written to x.SECRET" in warning
    assert "passwords included" in warning


def test_what_tls_cannot_be_set_up_with_is_told_with_a_remedy_and_status_2() -> None:
    error = setup_error(TlsSetupError("x.pem holds no certificate; name another file; or none"))
    assert (error.what, error.hint) == (
        "x.pem holds no certificate",
        "Name another file; or none",
    )
    assert error.status == 2
