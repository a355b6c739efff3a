from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from popproxy.cli import outputs
from popproxy.cli.config import Configuration
from popproxy.cli.errors import CommandError
from popproxy.cli.settings import Settings
from popproxy.sinks import FileSink, StreamSink
from popproxy.sinks.elsewhere import Elsewhere
from popproxy.sinks.terminal import TerminalSink


class _Origins(dict[Any, str]):
    def __missing__(self, key: Any) -> str:
        return "option --" + str(key[-1])


def configured(quiet: bool = False, color: str = "auto", **record: Any) -> Configuration:
    settings = Settings()
    replace = msgspec.structs.replace
    settings = replace(
        settings,
        record=replace(settings.record, **record),
        log=replace(settings.log, quiet=quiet, color=color),
    )
    return Configuration(settings, _Origins(), None)


class Screen(io.StringIO):
    def __init__(self, terminal: bool) -> None:
        super().__init__()
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal

    def fileno(self) -> int:
        return 1


def kinds(
    monkeypatch: pytest.MonkeyPatch, configuration: Configuration, *, terminal: bool
) -> list[type]:
    monkeypatch.setattr(sys, "stdout", Screen(terminal))
    return [
        type(sink) for sink in outputs.make_sinks(configuration, {"TERM": "xterm"}, Elsewhere())
    ]


def test_with_no_output_named_the_transcript_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    assert kinds(monkeypatch, configured(), terminal=True) == [TerminalSink]
    assert kinds(monkeypatch, configured(), terminal=False) == [StreamSink]
    assert kinds(monkeypatch, configured(color="always"), terminal=False) == [TerminalSink]
    assert kinds(monkeypatch, configured(quiet=True), terminal=False) == [StreamSink]


def test_files_are_written_and_sessions_shown_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    files: dict[str, Any] = {
        "jsonl": [f"{tmp_path}/a"],
        "putty": [f"{tmp_path}/&S"],
        "text": [f"{tmp_path}/b"],
    }
    everything = [FileSink, FileSink, FileSink]
    assert kinds(monkeypatch, configured(**files), terminal=True) == [*everything, TerminalSink]
    assert kinds(monkeypatch, configured(**files), terminal=False) == everything
    assert kinds(monkeypatch, configured(color="always", **files), terminal=False) == everything
    assert kinds(monkeypatch, configured(quiet=True, **files), terminal=True) == everything


@pytest.mark.parametrize("path", ["-", "/dev/stdout", "/dev/fd/1"])
def test_standard_output_belongs_to_the_output_that_names_it(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert kinds(monkeypatch, configured(jsonl=[path]), terminal=True) == [StreamSink]


def test_recording_nothing_at_all_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CommandError, match="nothing would be recorded") as caught:
        kinds(monkeypatch, configured(quiet=True), terminal=True)
    assert caught.value.status == 2


def test_paths_that_cannot_be_written_are_told_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "file" / "x.log"):
        with pytest.raises(CommandError) as caught:
            outputs.make_sinks(configured(text=[str(path)]), {}, Elsewhere())
        assert caught.value.status == 2
        assert str(path) in caught.value.what
        assert "option --text" in caught.value.hint


def test_a_putty_template_without_its_session_is_warned_about() -> None:
    assert list(outputs.warnings(configured(putty=["a-&S.log"]))) == []
    (warning,) = outputs.warnings(configured(putty=["a.log"]))
    assert "no &S" in warning
    (warning,) = outputs.warnings(configured(putty=["-"]))
    assert "one session at a time" in warning
