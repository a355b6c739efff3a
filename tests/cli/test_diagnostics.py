from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
import structlog

from popproxy import diagnostics
from popproxy.cli.diagnostics import Diagnostics
from popproxy.sinks.base import Notices
from tests.support.running import run


@pytest.fixture(autouse=True)
def structlog_as_it_was() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def test_announcements_for_people_are_plain_sentences() -> None:
    stream = io.StringIO()
    console = Diagnostics(stream=stream)
    console.announce("listening", "listening on pop3://127.0.0.1:1110", url="x")
    console.announce("detail", "not shown", level="debug")
    console.announce("trouble", "a\x1b[31m b", level="warning")
    assert stream.getvalue() == ("listening on pop3://127.0.0.1:1110\nwarning: a\\x1b[31m b\n")


def test_announcements_in_json_have_members() -> None:
    stream = io.StringIO()
    Diagnostics(form="json", stream=stream).announce("listening", "listening on x", url="x")
    said = json.loads(stream.getvalue())
    assert said.pop("timestamp").endswith("Z")
    assert said == {"event": "listening", "level": "info", "message": "listening on x", "url": "x"}


@pytest.mark.parametrize("form", ["console", "json"])
def test_a_worker_says_which_one_it_is(form: Literal["console", "json"]) -> None:
    stream = io.StringIO()
    console = Diagnostics(form=form, stream=stream, worker=2)
    console.announce("lost", "3 records were lost", level="warning")
    console.configure()
    structlog.get_logger("x").warning("client-refused", client="192.0.2.1")
    structlog.get_logger("x").warning("reload-refused", message="it is wrong")
    first, second, third = stream.getvalue().splitlines()
    if form == "json":
        told = [json.loads(one) for one in (first, second, third)]
        assert [one["worker"] for one in told] == [2, 2, 2]
        assert [one.get("message") for one in told] == ["3 records were lost", None, "it is wrong"]
        return
    assert first == "warning: worker 2: 3 records were lost"
    assert "worker 2: client refused" in second
    assert "worker 2: it is wrong" in third


def test_some_things_are_said_whatever_the_level() -> None:
    stream = io.StringIO()
    Diagnostics(level="error", stream=stream).announce("listening", "here", always=True)
    assert stream.getvalue() == "here\n"


@pytest.mark.parametrize("colors", [True, False])
def test_colours_are_as_told_not_guessed(colors: bool) -> None:
    stream = io.StringIO()
    console = Diagnostics(colors=colors, stream=stream)
    console.announce("x", "trouble", level="warning")
    console.configure()
    structlog.get_logger().warning("more_trouble", place="x")
    assert ("\x1b[" in stream.getvalue()) == colors
    assert "more trouble" in stream.getvalue()


@pytest.mark.parametrize("form", ["console", "json"])
def test_p13_no_exception_text_no_locals_no_stack(form: str) -> None:
    stream = io.StringIO()
    Diagnostics(form="json" if form == "json" else "console", stream=stream).configure()
    canary = "-".join(["canary", "in", "a", "local"])
    log = structlog.get_logger()

    def fail() -> None:
        raise ValueError(f"pass {canary}")

    try:
        fail()
    except ValueError as error:
        log.exception("failed")
        log.warning("failed_with_info", exc_info=sys.exc_info(), stack_info=True)
        log.warning("failed_with_error", exc_info=error)
        log.warning("failed_with_true", exc_info=True)
    said = stream.getvalue()
    assert canary not in said
    assert "Traceback" not in said
    assert said.count("ValueError") == 4
    assert said.count("test_diagnostics.py") == 4


def test_p43_what_is_quoted_reaches_no_terminal_as_control_characters() -> None:
    stream = io.StringIO()
    Diagnostics(stream=stream).configure()
    Notices("--jsonl \x1b[31m").warn("log_failed", "cannot write \u202e\x9b", path="\x1b]0;x\x07")
    said = stream.getvalue()
    assert "cannot write" in said
    assert "log_failed" not in said, "people read the sentence"
    assert not set(said) & set("\x1b\x9b\x07\u202e")


def test_levels_are_obeyed() -> None:
    stream = io.StringIO()
    Diagnostics(level="warning", stream=stream).configure()
    structlog.get_logger().info("unimportant")
    structlog.get_logger().warning("important")
    assert "important" in stream.getvalue()
    assert "unimportant" not in stream.getvalue()


def test_structlog_is_set_up_once_before_the_first_message() -> None:
    calls = []
    diagnostics.on_first_use(lambda: calls.append("set up"))
    assert calls == []
    diagnostics.logger("one")
    diagnostics.logger("two")
    assert calls == ["set up"]


def test_a_start_that_fails_says_so_in_json_too(tmp_path: Path) -> None:
    done = run("run", "--log-format", "json", cwd=tmp_path)
    assert done.returncode == 2
    (said,) = map(json.loads, done.stderr.splitlines())
    assert (said["event"], said["level"], said["message"]) == (
        "ended", "error", "no upstream server is named",
    )  # fmt: skip
    assert "popproxy run --upstream" in said["hint"]
