from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import click
import msgspec
import pytest

import popproxy
from popproxy.cli import commands, manual
from popproxy.cli.command import option_groups
from popproxy.cli.commands_relay import run
from popproxy.cli.config import FIELDS
from popproxy.cli.errors import CommandError, Status
from popproxy.cli.main import main
from popproxy.cli.options import Invocation, SettingOption


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place without any configuration file."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def failing(capsys: pytest.CaptureFixture[str], *argv: str, status: int = 2) -> str:
    """Run something that has to fail, and give what it said."""
    assert main(argv, {}) == status
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("popproxy: ")
    assert "Traceback" not in captured.err
    return captured.err


# Version and help


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"], {}) == 0
    assert capsys.readouterr().out == f"popproxy {popproxy.__version__}\n"


def every_command(
    command: click.Command = commands.popproxy, path: tuple[str, ...] = ()
) -> list[tuple[str, ...]]:
    below = command.commands if isinstance(command, click.Group) else {}
    return [path, *(p for name, one in below.items() for p in every_command(one, (*path, name)))]


@pytest.mark.parametrize("path", every_command(), ids=lambda path: " ".join(path) or "popproxy")
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_every_verb_has_help(
    path: tuple[str, ...], flag: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*path, flag], {}) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("Usage: popproxy")
    assert captured.err == ""
    assert "\x1b" not in captured.out
    assert max(len(line) for line in captured.out.splitlines()) <= 90


def test_help_of_run_has_groups_examples_exit_statuses_and_where_to_read_on(
    capsys: pytest.CaptureFixture[str],
) -> None:
    main(["run", "--help"], {})
    text = capsys.readouterr().out
    for title in (
        "Route:",
        "TLS with clients:",
        "TLS with the server:",
        "URLs:",
        "Output:",
        "Privacy:",
        "Display:",
        "Examples:",
        "Exit status:",
    ):
        assert f"\n{title}\n" in text
    assert "130  interrupted" in text
    assert "popproxy help" in text


def test_without_a_verb_help_goes_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([], {}) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Usage: popproxy" in captured.err


class Screen(io.StringIO):
    """Standard output that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("path", every_command(), ids=lambda path: " ".join(path) or "popproxy")
def test_help_on_a_terminal_is_drawn_by_rich_click(
    path: tuple[str, ...], columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = Screen()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert main([*path, "--help"], {}) == 0
    text = screen.getvalue()
    assert "\x1b[" in text
    for options in option_groups(command_at(path), click.Context(command_at(path))).values():
        for option in options:
            assert option.opts[-1].lstrip("-") in text


def command_at(path: Sequence[str]) -> click.Command:
    command: click.Command = commands.popproxy
    for name in path:
        assert isinstance(command, click.Group)
        command = command.commands[name]
    return command


def test_drawn_help_obeys_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setenv("NO_COLOR", "1")
    assert main(["run", "--help"], {"NO_COLOR": "1"}) == 0
    assert "\x1b" not in screen.getvalue()


def test_help_states_the_defaults_that_hold() -> None:
    for parameter in run.params:
        if not isinstance(parameter, SettingOption):
            continue
        section, _, key = parameter.setting.partition(".")
        default = FIELDS[section][key].default
        if isinstance(default, bool) or default in ("", msgspec.NODEFAULT):
            continue  # flags and empty lists speak for themselves
        shown = f"{default:g}" if isinstance(default, float) else str(default)
        assert f"Default: {shown}" in str(parameter.help), parameter.name


def test_every_option_that_stands_for_a_setting_names_one() -> None:
    for verb in (run, *map(command_at, (("demo",), ("serve",)))):
        for parameter in verb.params:
            if isinstance(parameter, SettingOption):
                section, _, key = parameter.setting.partition(".")
                assert key in FIELDS[section]


# Mistakes on the command line


def test_unknown_options_and_verbs_get_the_nearest_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert "Did you mean --upstream or --upstream-ca or --user?" in failing(
        capsys, "run", "--upsteam", "x"
    )
    assert "'popproxy run --help'" in failing(capsys, "run", "--nonsense")
    assert "Did you mean demo?" in failing(capsys, "dmeo")
    assert "'full', 'headers', 'none'" in failing(capsys, "run", "--body", "some")
    assert "--idle-timeout" in failing(capsys, "run", "--idle-timeout", "soon")


def test_a_run_without_an_upstream_says_what_to_do(
    capsys: pytest.CaptureFixture[str], home: Path
) -> None:
    said = failing(capsys, "run")
    assert "no upstream server" in said
    assert "--upstream pop3s://" in said
    assert "popproxy demo" in said


# The manual


def test_help_lists_the_topics_and_shows_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["help"], {}) == 0
    listed = capsys.readouterr().out
    for name, title in manual.topics().items():
        assert f"**{name}**" in listed
        assert main(["help", name.upper()], {}) == 0
        page = capsys.readouterr().out
        assert page.startswith(f"# {title}")
        assert "<!--" not in page
        assert ".md)" not in page


def test_help_names_pictures_that_a_terminal_cannot_show(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["help", "performance"], {}) == 0
    out = capsys.readouterr().out
    assert "*One message: time and memory* (`popproxy/guide/growth-message.png`)" in out
    assert "![" not in out


def test_help_suggests_the_nearest_topic(capsys: pytest.CaptureFixture[str]) -> None:
    said = failing(capsys, "help", "protocl")
    assert "no topic 'protocl'" in said
    assert "Did you mean protocol?" in said


def test_help_on_a_terminal_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    assert main(["help", "protocol"], {"TERM": "xterm"}) == 0
    assert "\x1b[" in screen.getvalue()
    assert "# POP3" not in screen.getvalue()


def test_help_in_colour_obeys_no_color_and_the_option(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["help", "--color", "always", "protocol"], {"NO_COLOR": "1"}) == 0
    assert "\x1b[" in capsys.readouterr().out
    screen = Screen()
    monkeypatch.setattr(sys, "stdout", screen)
    assert main(["help", "protocol"], {"NO_COLOR": "1"}) == 0
    assert main(["help", "--color", "never", "protocol"], {}) == 0
    assert "\x1b" not in screen.getvalue()


def test_a_long_page_goes_through_the_pager(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pager = tmp_path / "pager"
    pager.write_text(f'#!/bin/sh\nprintf "%s" "$LESS" > {tmp_path}/less\ncat > {tmp_path}/paged\n')
    pager.chmod(0o700)
    monkeypatch.setattr(sys, "stdout", Screen())
    monkeypatch.setattr(sys, "stdin", Screen())
    env = {"PAGER": str(pager), "PATH": os.environ["PATH"], "TERM": "xterm"}
    assert main(["help", "findings"], env) == 0
    assert "bare-lf" in (tmp_path / "paged").read_text()
    assert (tmp_path / "less").read_text() == "FRX"


def test_without_a_pager_the_page_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setattr(sys, "stdin", Screen())
    assert main(["help", "findings"], {"PAGER": "/nonexistent/pager", "TERM": "xterm"}) == 0
    assert "bare-lf" in screen.getvalue()


# Configuration and schemas


def test_schema_prints_the_records_schema(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"], {}) == 0
    assert json.loads(capsys.readouterr().out)["$id"] == "urn:popproxy:record:1"


def test_config_schema(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "schema"], {}) == 0
    assert json.loads(capsys.readouterr().out)["title"] == "popproxy.toml"


def test_config_show_is_a_configuration_file(
    capsys: pytest.CaptureFixture[str], home: Path
) -> None:
    Path("popproxy.toml").write_text('[[route]]\nupstream = "pop3://a"\n[log]\nquiet = true\n')
    argv = ["config", "show", "--origin", "--body", "none", "--mask-users", "-q"]
    argv += ["--pin", "sha256:a", "--pin", "sha256:b", "--stls", "hide", "--tls-keys", "k.SECRET"]
    assert main(argv, {"POPPROXY_TIMEOUTS__IDLE": "900"}) == 0
    shown = capsys.readouterr().out
    lines = [" ".join(line.split()) for line in shown.splitlines()]
    assert 'upstream = "pop3://a" # popproxy.toml:2' in lines
    assert 'body = "none" # option --body' in lines
    assert "mask_users = true # option --mask-users" in lines
    assert "quiet = true # option --quiet" in lines
    assert "idle = 900 # POPPROXY_TIMEOUTS__IDLE" in lines
    assert "connect = 10 # default" in lines
    assert 'pin = ["sha256:a", "sha256:b"] # option --pin' in lines
    assert 'stls = "hide" # option --stls' in lines
    assert 'keys = "k.SECRET" # option --tls-keys' in lines
    assert 'client_tls_minimum = "1.2" # default' in lines
    Path("again.toml").write_text(shown)
    assert main(["config", "show", "--config", "again.toml"], {}) == 0
    again = capsys.readouterr().out.splitlines()[1:]
    assert again == [line.partition("  #")[0].rstrip() for line in shown.splitlines()[1:]]


def test_config_show_tells_mistakes(capsys: pytest.CaptureFixture[str], home: Path) -> None:
    said = failing(capsys, "config", "show", "--max-connections", "0")
    assert "option --max-connections: expected a whole number" in said


def test_config_check_names_the_routes_of_a_good_file(
    capsys: pytest.CaptureFixture[str], home: Path
) -> None:
    example = Path(__file__).parents[2] / "config" / "popproxy.toml"
    assert main(["config", "check", str(example)], {}) == 0
    assert capsys.readouterr().out == f"{example}: no mistakes; 1 route\n"
    Path("popproxy.toml").write_text(
        '[[route]]\nupstream = "pop3s://a"\nkey = "k"\npin = ["sha1:x"]\n[log]\nlevel = 3\n'
    )
    said = failing(capsys, "config", "check")
    assert "popproxy.toml:3: route.key: a key without its certificate" in said
    assert "popproxy.toml:3: route.key: there is no file k" in said
    assert "popproxy.toml:4: route.pin: expected sha256:" in said
    assert "popproxy.toml:6: log.level: expected one of" in said


def test_config_check_without_a_file(capsys: pytest.CaptureFixture[str], home: Path) -> None:
    assert "no configuration file" in failing(capsys, "config", "check")
    assert "cannot read" in failing(capsys, "config", "check", "gone.toml")


# What goes wrong unforeseen


def raising(error: BaseException) -> click.Command:
    @click.command("run")
    @click.option("--log-level", default="info")
    @click.pass_obj
    def command(invocation: Invocation, log_level: str) -> None:
        invocation.log_level = log_level
        secret = "-".join(["canary", "of", "a", "local"])  # not to be found in this source
        assert secret
        raise error

    return command


def raised(error: Exception) -> Exception:
    """Give an exception that has come from somewhere, as those in a nursery have."""

    def fail() -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        fail()
    return caught.value


CANARY = "pass s3cret-canary"


@pytest.mark.parametrize(
    "error",
    [
        ValueError(CANARY),
        ExceptionGroup("x", [ExceptionGroup("y", [raised(ValueError(CANARY)), KeyError()])]),
    ],
)
@pytest.mark.parametrize("level", ["info", "debug"])
def test_p13_a_defect_is_told_by_type_and_place_alone(
    error: Exception,
    level: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(commands.popproxy.commands, "run", raising(error))
    assert main(["run", "--log-level", level], {}) == 1
    captured = capsys.readouterr()
    assert "internal error: ValueError" in captured.err
    assert "report it" in captured.err
    assert CANARY not in captured.out + captured.err
    assert "canary-of-a-local" not in captured.out + captured.err
    assert ("    raise error\n" in captured.err) == (level == "debug")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (KeyboardInterrupt(), 130),
        (BaseExceptionGroup("x", [KeyboardInterrupt()]), 130),
        (CommandError("cannot listen", status=Status.LISTEN), 3),
        (ExceptionGroup("x", [CommandError("no", status=Status.UPSTREAM)]), 4),
    ],
)
def test_exit_statuses(
    error: BaseException,
    status: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(commands.popproxy.commands, "run", raising(error))
    assert main(["run"], {}) == status
    assert "Traceback" not in capsys.readouterr().err


def test_control_characters_do_not_reach_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    said = failing(capsys, "help", "\x1b]0;title\x07")
    assert "\x1b" not in said
    assert "\x07" not in said


# Completion


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_call_back(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell], {}) == 0
    assert f"_POPPROXY_COMPLETE={shell}_complete" in capsys.readouterr().out


def test_completion_answers_the_shell(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COMP_WORDS", "popproxy run --li")
    monkeypatch.setenv("COMP_CWORD", "2")
    assert main([], {"_POPPROXY_COMPLETE": "bash_complete"}) == 0
    assert "--listen" in capsys.readouterr().out


def test_completion_knows_options_of_tls_and_their_values(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def completed(words: str) -> set[str]:
        monkeypatch.setenv("COMP_WORDS", words)
        monkeypatch.setenv("COMP_CWORD", str(len(words.split(" ")) - 1))
        assert main([], {"_POPPROXY_COMPLETE": "bash_complete"}) == 0
        return {line.partition(",")[2] for line in capsys.readouterr().out.splitlines()}

    assert completed("popproxy run --stls ") == {"intercept", "pass", "hide"}
    assert completed("popproxy run --client-") == {
        "--client-certificate",
        "--client-key",
        "--client-tls-minimum",
    }
    assert completed("popproxy run --upstream-tls-minimum 1.") == {"1.0", "1.1", "1.2", "1.3"}


def test_the_bash_script_works_in_bash(capsys: pytest.CaptureFixture[str]) -> None:
    main(["completion", "bash"], {})
    script = capsys.readouterr().out + (
        "COMP_WORDS=(popproxy run --list)\nCOMP_CWORD=2\n"
        '_popproxy_completion popproxy\necho "${COMPREPLY[@]}"\n'
    )
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    result = subprocess.run(
        ["bash", "-c", script],
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": path},
        check=True,
    )
    assert result.stdout.split() == ["--listen"]
