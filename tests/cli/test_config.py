from __future__ import annotations

import dataclasses
import json
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

from popproxy.cli.config import Configuration, Layers, build
from popproxy.cli.errors import CommandError, ConfigurationError
from popproxy.cli.routes import read_route_options
from popproxy.cli.settings import SECTIONS, RouteSettings, Settings, json_schema
from popproxy.cli.sources import (
    find_file,
    read_environment,
    read_file,
    read_options,
    read_text,
)
from popproxy.relay import Limits, Timeouts

EXAMPLE = Path(__file__).parents[2] / "config" / "popproxy.toml"


def configuration(
    text: str = "", env: dict[str, str] | None = None, **options: Any
) -> Configuration:
    layers = Layers()
    if text:
        read_text(layers, text, "popproxy.toml")
    read_environment(layers, env or {})
    given = {
        (name.partition("__")[0], name.partition("__")[2]): (f"--{name}", value)
        for name, value in options.items()
    }
    read_options(layers, given)
    return build(layers)


def problems(text: str = "", env: dict[str, str] | None = None, **options: Any) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        configuration(text, env, **options)
    assert caught.value.status == 2
    return [str(problem) for problem in caught.value.problems]


# The annotated example


def test_the_example_names_every_setting_with_its_default() -> None:
    content = tomllib.loads(EXAMPLE.read_text())
    assert set(content) == set(SECTIONS)
    for section, type_ in SECTIONS.items():
        table = content[section][0] if section == "route" else content[section]
        expected = msgspec.to_builtins(type_())
        if section == "route":
            assert table.pop("upstream") == "pop3s://pop.example.org"
            del expected["upstream"]
        assert table == expected
        assert list(table) == list(expected), "in the order of the types"


def test_the_example_is_valid() -> None:
    layers = Layers()
    read_file(layers, EXAMPLE)
    settings = build(layers).settings
    assert settings == Settings(route=[RouteSettings(upstream="pop3s://pop.example.org")])


def test_defaults_are_the_relays_own() -> None:
    settings = Settings()
    assert msgspec.to_builtins(settings.limits) == dataclasses.asdict(Limits())
    assert msgspec.to_builtins(settings.timeouts) == dataclasses.asdict(Timeouts())


# JSON Schema


def test_the_schema_accepts_the_example_and_refuses_mistakes() -> None:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    content = tomllib.loads(EXAMPLE.read_text())
    validator.validate(content)
    content["record"]["body"] = "some"
    content["timeouts"]["idle"] = 0
    content["unknown"] = {}
    assert len(list(validator.iter_errors(content))) == 3


def test_every_setting_is_described_in_the_schema() -> None:
    for name, definition in json_schema()["$defs"].items():
        if name == "Settings":
            continue
        for key, value in definition["properties"].items():
            assert value.get("description"), f"{name}.{key}"


# Precedence


def test_later_layers_win_and_origins_tell() -> None:
    result = configuration(
        '[record]\nbody = "none"\nmask_users = true\n[log]\nlevel = "debug"\n',
        {"POPPROXY_RECORD__BODY": "headers", "POPPROXY_LOG__LEVEL": "error"},
        log__level="warning",
    )
    assert result.settings.record.body == "headers"
    assert result.settings.record.mask_users is True
    assert result.settings.log.level == "warning"
    assert result.origins["record", "body"] == "POPPROXY_RECORD__BODY"
    assert result.origins["record", "mask_users"] == "popproxy.toml:3"
    assert result.origins["log", "level"] == "option --log__level"
    assert result.origins["log", "format"] == "default"


def test_a_list_is_replaced_whole() -> None:
    result = configuration('[record]\njsonl = ["a", "b"]\n', record__jsonl=["c"])
    assert result.settings.record.jsonl == ["c"]


@pytest.fixture
def homes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "xdg" / "popproxy").mkdir(parents=True)
    (tmp_path / "home" / ".config" / "popproxy").mkdir(parents=True)
    return tmp_path


def test_the_first_file_that_exists_counts(homes: Path) -> None:
    env = {"XDG_CONFIG_HOME": str(homes / "xdg"), "HOME": str(homes / "home")}
    in_xdg = homes / "xdg" / "popproxy" / "config.toml"
    in_home = homes / "home" / ".config" / "popproxy" / "config.toml"
    in_home.touch()
    assert find_file(None, {"HOME": str(homes / "home")}) == in_home
    in_xdg.touch()
    assert find_file(None, env) == in_xdg
    Path("popproxy.toml").touch()
    assert find_file(None, env) == Path("popproxy.toml")
    Path("named.toml").touch()
    assert find_file(None, {**env, "POPPROXY_CONFIG": "named.toml"}) == Path("named.toml")
    Path("option.toml").touch()
    assert find_file("option.toml", {"POPPROXY_CONFIG": "named.toml"}) == Path("option.toml")


def test_without_any_file_there_is_none(homes: Path) -> None:
    assert find_file(None, {"HOME": str(homes)}) in (None, Path("/etc/popproxy/config.toml"))


@pytest.mark.parametrize(("option", "env"), [("gone", {}), (None, {"POPPROXY_CONFIG": "gone"})])
def test_a_named_file_that_is_not_there_is_a_mistake(
    option: str | None, env: dict[str, str]
) -> None:
    with pytest.raises(CommandError, match="gone") as caught:
        find_file(option, env)
    assert caught.value.status == 2


# The environment


def test_the_environment_holds_numbers_booleans_lists_and_one_route() -> None:
    result = configuration(
        env={
            "POPPROXY_LIMITS__CONNECTIONS": "7",
            "POPPROXY_TIMEOUTS__IDLE": "1.5",
            "POPPROXY_RECORD__MASK_USERS": "true",
            "POPPROXY_RECORD__JSONL": "a,b.jsonl",
            "POPPROXY_RECORD__TEXT": '["x", "y"]',
            "POPPROXY_RECORD__PUTTY": "",
            "POPPROXY_ROUTE__UPSTREAM": "pop3://pop.example.org",
        }
    ).settings
    assert result.limits.connections == 7
    assert result.timeouts.idle == 1.5
    assert result.record.mask_users is True
    assert result.record.jsonl == ["a,b.jsonl"]
    assert result.record.text == ["x", "y"]
    assert result.record.putty == []
    assert result.route == [RouteSettings(upstream="pop3://pop.example.org")]


def test_the_environment_changes_the_files_only_route() -> None:
    text = '[[route]]\nupstream = "pop3://a"\nname = "kept"\n'
    result = configuration(text, {"POPPROXY_ROUTE__UPSTREAM": "pop3://b"})
    assert result.settings.route == [RouteSettings(name="kept", upstream="pop3://b")]


def test_the_environment_cannot_choose_between_routes() -> None:
    text = '[[route]]\nupstream = "pop3://a"\n[[route]]\nupstream = "pop3://b"\n'
    (problem,) = problems(text, {"POPPROXY_ROUTE__UPSTREAM": "pop3://c"})
    assert "2 routes" in problem


def test_names_that_container_platforms_make_are_left_alone() -> None:
    configuration(env={"POPPROXY_PORT": "tcp://10.0.0.1:110", "POPPROXY_SERVICE_HOST": "x"})


# Mistakes


def test_all_mistakes_of_a_file_are_told_at_once_with_line_and_nearest_name() -> None:
    text = """\
colour = "never"
[recrod]
body = "none"
[record]
bdoy = "none"
body = "ful"
jsonl = "log.jsonl"
mask_users = "yes"
idle = 3
[limits]
connections = 0
[[route]]
upstream = 110
client_tls_minimum = 1.1
stls = "hied"
[timeouts]
idle = nan
"""
    assert problems(text) == [
        "popproxy.toml:1: colour: there is no such section (valid are route, record, files, chain,"
        " syslog, tls, limits, timeouts, status, log, process)",
        "popproxy.toml:2: recrod: there is no such section (did you mean record?)",
        "popproxy.toml:5: record.bdoy: there is no such setting (did you mean body?)",
        'popproxy.toml:6: record.body: expected one of "full", "headers", "none", found "ful"'
        " (did you mean full?)",
        "popproxy.toml:7: record.jsonl: expected a list, each item a string in quotes, found"
        ' "log.jsonl" (write ["log.jsonl"])',
        'popproxy.toml:8: record.mask_users: expected true or false, found "yes"',
        "popproxy.toml:9: record.idle: there is no such setting (idle belongs to the section"
        " timeouts)",
        "popproxy.toml:11: limits.connections: expected a whole number of at least 1, found 0",
        "popproxy.toml:13: route.upstream: expected a string in quotes, found 110",
        'popproxy.toml:14: route.client_tls_minimum: expected one of "1.0", "1.1", "1.2", "1.3",'
        ' found 1.1 (write "1.1")',
        'popproxy.toml:15: route.stls: expected one of "intercept", "pass", "hide", found "hied"'
        " (did you mean hide?)",
        "popproxy.toml:17: timeouts.idle: expected a number greater than 0, found nan",
    ]


def test_mistakes_in_every_layer_are_told_together() -> None:
    found = problems("[log]\nlevel = 1\n", {"POPPROXY_LOG__FORMAT": "xml"}, record__body="all")
    assert [problem.partition(":")[0] for problem in found] == [
        "popproxy.toml",
        "POPPROXY_LOG__FORMAT",
        "option --record__body",
    ]


def test_mistakes_in_the_environment_name_the_variable() -> None:
    env = {
        "POPPROXY_RECROD__BODY": "none",
        "POPPROXY_RECORD__BDOY": "none",
        "POPPROXY_RECORD__TEXT": "[broken",
        "POPPROXY_LIMITS__CONNECTIONS": "many",
        "POPPROXY_LOG__QUIET": "perhaps",
    }
    assert problems(env=env) == [
        "POPPROXY_LIMITS__CONNECTIONS: limits.connections: expected a whole number of at least 1,"
        ' found "many"',
        'POPPROXY_LOG__QUIET: log.quiet: expected true or false, found "perhaps"',
        "POPPROXY_RECORD__BDOY: record.bdoy: there is no such setting (did you mean body?)",
        "POPPROXY_RECORD__TEXT: record.text: expected a list, each item a string in quotes, found"
        ' "[broken" (write ["[broken"])',
        "POPPROXY_RECROD__BODY: recrod: there is no such section (did you mean record?)",
    ]


def test_a_setting_without_its_section_is_sent_there() -> None:
    (problem,) = problems('body = "none"\n')
    assert problem.endswith("(body belongs to the section record)")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x = \n", "popproxy.toml:1, column 5: not valid TOML: Invalid value"),
        ("[log]\nlevel = 'info\n", "popproxy.toml:2: not valid TOML"),
        ("a = [1,\n", "popproxy.toml:1: not valid TOML"),
    ],
)
def test_syntax_errors_have_a_place(text: str, expected: str) -> None:
    (problem,) = problems(text)
    assert problem.startswith(expected)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("route = 3\n", "[[route]]"),
        ("[route]\nlisten = 'x'\n", "[[route]]"),
        ("log = 3\n", "[log]"),
        ("route = [3]\n", "[[route]]"),
        ("record.body = {}\n", "found a table"),
    ],
)
def test_tables_of_the_wrong_kind(text: str, hint: str) -> None:
    (problem,) = problems(text)
    assert hint in problem


def test_a_long_value_is_cut_and_a_date_shown() -> None:
    (long, date) = problems(f'[limits]\nconnections = "{"x" * 200}"\n[log]\nlevel = 2011-10-29\n')
    assert len(long) < 160
    assert long.endswith("...")
    assert "2011-10-29" in date


@pytest.mark.parametrize("content", [b"\xff\xfe", None])
def test_unreadable_files(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "x.toml"
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    with pytest.raises(CommandError) as caught:
        read_file(Layers(), path)
    assert caught.value.status == 2
    assert str(path) in caught.value.what


def test_a_byte_order_mark_before_the_text_is_passed_over(tmp_path: Path) -> None:
    path, layers = tmp_path / "x.toml", Layers()
    path.write_bytes(b"\xef\xbb\xbf[log]\nlevel = 'debug'\n")
    read_file(layers, path)
    assert layers.problems == []
    assert layers.entries["log", "level"].value == "debug"


def test_lists_in_lists_without_end_are_a_problem_of_the_file() -> None:
    (problem,) = problems("a = " + "[" * 100_000)
    assert problem == (
        "popproxy.toml: not valid TOML: lists or tables stand in each other too many times"
    )
    layers = Layers()
    read_environment(layers, {"POPPROXY_RECORD__TEXT": "[" * 100_000})
    (wrong,) = layers.problems
    assert wrong.key == "record.text"


# Routes by options


def routes(
    listen: list[str], upstream: list[str], allow: list[str], text: str = "", **options: object
) -> list[RouteSettings]:
    layers = Layers()
    if text:
        read_text(layers, text, "popproxy.toml")
    given = {("route", key): (f"--{key}", value) for key, value in options.items()}
    read_route_options(layers, listen, upstream, allow, given)
    return build(layers).settings.route


TWO = '[[route]]\nupstream = "pop3://a"\n[[route]]\nupstream = "pop3://b"\n'


def test_options_make_routes_in_pairs() -> None:
    assert routes(["pop3://:1", "pop3://:2"], ["pop3://a", "pop3://b"], ["10.0.0.0/8"]) == [
        RouteSettings(listen="pop3://:1", upstream="pop3://a", allow=["10.0.0.0/8"]),
        RouteSettings(listen="pop3://:2", upstream="pop3://b", allow=["10.0.0.0/8"]),
    ]


def test_routes_by_options_replace_those_of_the_file() -> None:
    assert routes([], ["pop3://c"], [], TWO) == [RouteSettings(upstream="pop3://c")]


def test_listen_alone_changes_the_only_route() -> None:
    text = '[[route]]\nupstream = "pop3://a"\nname = "n"\n'
    assert routes(["pop3://127.0.0.1:9"], [], [], text) == [
        RouteSettings(name="n", listen="pop3://127.0.0.1:9", upstream="pop3://a")
    ]


@pytest.mark.parametrize(
    ("listen", "upstream", "text"),
    [
        (["x"], [], ""),
        (["x"], [], TWO),
        (["x", "y"], ["a"], ""),
        (["x"], ["a", "b"], ""),
        ([], ["a", "b"], ""),
        (["x", "y"], [], '[[route]]\nupstream = "pop3://a"\n'),
    ],
)
def test_routes_that_do_not_pair(listen: list[str], upstream: list[str], text: str) -> None:
    with pytest.raises(ConfigurationError, match="option --listen"):
        routes(listen, upstream, [], text)


def test_options_of_tls_go_for_every_route() -> None:
    made = routes(["pop3://:1", "pop3://:2"], ["pop3s://a", "pop3s://b"], [], upstream_ca="ca.pem")
    assert [one.upstream_ca for one in made] == ["ca.pem", "ca.pem"]
    made = routes([], [], [], TWO, client_tls_minimum="1.3")
    assert [(one.upstream, one.client_tls_minimum) for one in made] == [
        ("pop3://a", "1.3"),
        ("pop3://b", "1.3"),
    ]


@pytest.mark.parametrize(
    "given",
    [
        {"insecure": True},
        {"pin": ["sha256:" + "0" * 64]},
        {"server_name": "a"},
        {"sni": "a"},
        {"proxy_to": "v2"},
    ],
)
def test_p32_what_is_about_one_server_goes_for_no_other(given: dict[str, object]) -> None:
    (key,) = given
    with pytest.raises(ConfigurationError, match=rf"option --{key}: there are 2 routes.*\[\[route"):
        routes([], [], [], TWO, **given)
    (one,) = routes([], ["pop3s://c"], [], TWO, **given)
    assert getattr(one, key) == given[key]


@pytest.mark.parametrize(
    ("certificate", "key"), [("cert", "key"), ("client_certificate", "client_key")]
)
def test_a_certificate_of_a_later_layer_does_without_the_key_of_an_earlier(
    certificate: str, key: str
) -> None:
    text = f'[[route]]\nupstream = "pop3s://a"\n{certificate} = "a.pem"\n{key} = "a.key"\n'
    (file,) = routes([], [], [], text)
    assert (getattr(file, certificate), getattr(file, key)) == ("a.pem", "a.key")
    (option,) = routes([], [], [], text, **{certificate: "b.pem"})
    assert (getattr(option, certificate), getattr(option, key)) == ("b.pem", "")
    variable = f"POPPROXY_ROUTE__{certificate.upper()}"
    (environment,) = configuration(text, {variable: "c.pem"}).settings.route
    assert (getattr(environment, certificate), getattr(environment, key)) == ("c.pem", "")
    (both,) = routes([], [], [], text, **{certificate: "b.pem", key: "b.key"})
    assert (getattr(both, certificate), getattr(both, key)) == ("b.pem", "b.key")
    (key_only,) = routes([], [], [], text, **{key: "b.key"})
    assert (getattr(key_only, certificate), getattr(key_only, key)) == ("a.pem", "b.key")


def test_tls_in_the_environment() -> None:
    env = {
        "POPPROXY_ROUTE__UPSTREAM": "pop3s://pop.example.org",
        "POPPROXY_ROUTE__PIN": f'["sha256:{"a" * 64}", "sha256:{"b" * 64}"]',
        "POPPROXY_ROUTE__STLS": "hide",
        "POPPROXY_ROUTE__INSECURE": "true",
        "POPPROXY_ROUTE__UPSTREAM_TLS_MINIMUM": "1.3",
        "POPPROXY_TLS__AUTHORITY": "/var/lib/popproxy",
    }
    result = configuration(env=env)
    (one,) = result.settings.route
    assert one.pin == ["sha256:" + "a" * 64, "sha256:" + "b" * 64]
    assert (one.stls, one.insecure, one.upstream_tls_minimum) == ("hide", True, "1.3")
    assert result.settings.tls.authority == "/var/lib/popproxy"
    assert result.origins["route", 0, "pin"] == "POPPROXY_ROUTE__PIN"


def test_a_wrong_value_of_a_routes_option_is_told() -> None:
    with pytest.raises(
        ConfigurationError, match=r"option --stls: expected one of .*did you mean pa"
    ):
        routes([], ["pop3://a"], [], stls="pas")


def test_problems_are_json_safe_text() -> None:
    (problem,) = problems('[log]\nlevel = "\\u001b[31m"\n')
    assert "\x1b" not in problem
    json.dumps(problem)
