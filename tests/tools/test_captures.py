"""Captures of any kind, and what is said of files that are none."""

import gzip
import io
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from popproxy.formats import FormatError, JsonLinesWriter, TextWriter, jsonl
from popproxy.records import Record
from popproxy.tools import captures
from tests.support.make_samples import SAMPLES

CAPTURE = SAMPLES / "session.jsonl"


def records() -> list[Record]:
    with CAPTURE.open("rb") as file:
        return list(jsonl.read(file))


def bundle(path: Path, name: str = "capture.jsonl") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("README.txt", "not this one")
        archive.writestr(name, CAPTURE.read_bytes())
    return path


def test_json_lines_and_text_give_the_same_records(tmp_path: Path) -> None:
    writer = TextWriter()
    path = tmp_path / "named.jsonl"  # the name does not matter
    path.write_bytes(b"".join(writer.write(record) for record in records()) + writer.end())
    assert list(captures.read(str(CAPTURE))) == records()
    assert list(captures.read(str(path))) == records()


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
@pytest.mark.parametrize("name", ["session.jsonl", "session.txt"])
def test_packed_captures_are_read_as_they_are(
    tmp_path: Path, name: str, pack: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / "packed"
    path.write_bytes(pack((SAMPLES / name).read_bytes()))
    assert list(captures.read(str(path))) == records()


def test_a_packed_capture_that_was_cut_is_told(tmp_path: Path) -> None:
    path = tmp_path / "packed"
    path.write_bytes(zstandard.compress(CAPTURE.read_bytes())[:-100])
    with pytest.raises(captures.CaptureError, match="it is damaged"):
        list(captures.read(str(path)))


def test_a_bundle_is_read_by_its_capture(tmp_path: Path) -> None:
    assert list(captures.read(str(bundle(tmp_path / "b.zip")))) == records()


@pytest.mark.parametrize("name", ["session.jsonl", "session.txt", "b.zip"])
def test_standard_input_is_read_through_a_pipe(tmp_path: Path, name: str) -> None:
    path = bundle(tmp_path / name) if name == "b.zip" else SAMPLES / name
    code = "from popproxy.tools import captures; print(sum(1 for _ in captures.read('-')))"
    done = subprocess.run(
        [sys.executable, "-c", code], input=path.read_bytes(), capture_output=True, check=True
    )
    assert int(done.stdout) == len(records())


def test_a_byte_order_mark_does_not_hide_json(tmp_path: Path) -> None:
    path = tmp_path / "bom"
    path.write_bytes(b"\xef\xbb\xbf" + CAPTURE.read_bytes())
    assert list(captures.read(str(path))) == records()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "this file is empty"),
        (b"\x00\xff\x10junk", "no capture that popproxy knows"),
        (b"{}\n", "line 1: this is JSON, but no record"),
        (b'{"not": json', "line 1: the last line is torn"),
        (b"PK\x03\x04 and no more", "this zip file is damaged"),
    ],
)
def test_what_is_no_capture_is_told_with_its_place(
    tmp_path: Path, content: bytes, words: str
) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(captures.CaptureError, match=words) as caught:
        list(captures.read(str(path)))
    assert str(caught.value).startswith(str(path))


def test_missing_files_and_directories_are_told(tmp_path: Path) -> None:
    with pytest.raises(captures.CaptureError, match="No such file"):
        list(captures.read(str(tmp_path / "none")))
    with pytest.raises(captures.CaptureError, match="this is a directory"):
        list(captures.read(str(tmp_path)))


def test_a_zip_file_without_a_capture_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(captures.CaptureError, match=r"no capture\.jsonl"):
        list(captures.read(str(bundle(tmp_path / "b.zip", "other.jsonl"))))


def test_a_bundle_that_was_cut_is_damaged(tmp_path: Path) -> None:
    path = bundle(tmp_path / "b.zip")
    whole = path.read_bytes()
    path.write_bytes(whole[:60] + bytes(200) + whole[260:])
    with pytest.raises(captures.CaptureError, match="damaged"):
        list(captures.read(str(path)))


def test_reading_goes_on_behind_an_error(tmp_path: Path) -> None:
    path = tmp_path / "torn"
    lines = CAPTURE.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], b'{"x": 1}\n', *lines[1:], lines[-1][:50]]))
    errors: list[FormatError] = []
    assert list(captures.read(str(path), on_error=errors.append)) == records()
    assert [error.line for error in errors] == [2, len(lines) + 2]
    assert [captures.is_torn(error) for error in errors] == [False, True]


def test_a_line_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(captures, "MAX_LINE", 1024 * 1024)
    path = tmp_path / "endless"
    with path.open("wb") as file:
        file.write(b"{")
        for _ in range(20):
            file.write(b" " * 1024 * 1024)
    with pytest.raises(captures.CaptureError, match="a line of more than 1 MiB"):
        list(captures.read(str(path)))


def test_the_kind_can_be_told(tmp_path: Path) -> None:
    path = tmp_path / "capture"
    writer = JsonLinesWriter()
    path.write_bytes(b"\n\n" * 60_000 + b"".join(writer.write(record) for record in records()))
    assert list(captures.read(str(path), kind="jsonl")) == records()
    assert captures.recognise(io.BytesIO(b"  {").read()) == "jsonl"
