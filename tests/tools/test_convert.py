"""There and back: formats that keep everything give the same records."""

import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from popproxy.formats import WRITERS, CaptureKind, jsonl
from popproxy.records import Record
from popproxy.tools import captures, convert
from tests.support.conversations import load_all
from tests.support.make_samples import SAMPLES
from tests.support.make_samples import records as records_of
from tests.support.records import captures as any_capture


def converted(records: list[Record], kind: CaptureKind) -> bytes:
    file = io.BytesIO()
    assert convert.convert_to_file(records, file, kind) == len(records)
    return file.getvalue()


def back(file: bytes, path: Path) -> list[Record]:
    path.write_bytes(file)
    return list(captures.read(str(path)))


@settings(max_examples=30, deadline=None)
@given(records=any_capture, kinds=st.lists(st.sampled_from(["jsonl", "text"]), max_size=3))
def test_any_capture_comes_back_from_formats_that_keep_everything(
    records: list[Record], kinds: list[CaptureKind], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "there-and-back"
    made = records
    for kind in kinds if records else []:
        made = back(converted(made, kind), path)
    assert made == records


def test_all_conversations_at_once_come_back(tmp_path: Path) -> None:
    records = [
        record
        for number, conversation in enumerate(load_all(), 1)
        for record in records_of(conversation.name, number)
    ]
    for kind in ("jsonl", "text"):
        assert back(converted(records, kind), tmp_path / kind) == records


@pytest.mark.parametrize(
    ("name", "kind"),
    [("a.jsonl", "jsonl"), ("A.TXT", "text"), ("x/b.log", "putty"), ("c.htm", "html"), ("d", None)],
)
def test_a_file_s_name_tells_its_format(name: str, kind: str | None) -> None:
    assert convert.kind_of(name) == kind


def test_every_format_has_an_ending() -> None:
    assert set(convert.ENDINGS.values()) == {*WRITERS, "html"}


def sample() -> list[Record]:
    with (SAMPLES / "oddities.jsonl").open("rb") as file:
        return list(jsonl.read(file))


def test_each_session_has_its_putty_log(tmp_path: Path) -> None:
    done = convert.convert_to_files(sample(), f"{tmp_path}/&Y-&S.log", "putty")
    assert len(done) == 7
    for path in done:
        assert Path(path).read_bytes().startswith(b"=~=~")
        assert len(list(captures.read(path))) > 5


def test_sessions_that_would_share_a_log_are_refused_and_leave_nothing(tmp_path: Path) -> None:
    with pytest.raises(convert.SeveralSessionsError):
        convert.convert_to_files(sample(), f"{tmp_path}/&Y&Sx"[:-3] + ".log", "putty")
    assert not any(one.name.endswith(".part") for one in tmp_path.iterdir())
    with pytest.raises(convert.SeveralSessionsError):
        converted(sample(), "putty")


def test_open_files_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convert, "OPEN_MOST", 2)
    starts = [record for record in sample() if record.session.seq == 1]
    with pytest.raises(convert.TooManyFilesError):
        convert.convert_to_files(starts, f"{tmp_path}/&S.log", "putty")
    assert list(tmp_path.iterdir()) == []
