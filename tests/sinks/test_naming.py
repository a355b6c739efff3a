"""P48: names of log files."""

from __future__ import annotations

import re
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popproxy.sinks.naming import (
    VALUE_MAX,
    Template,
    TemplateError,
    expand,
    is_per_session,
    slug,
    with_session,
)

WHEN = datetime(2025, 3, 7, 4, 5, 9)


def name(template: str, **changes: object) -> str:
    values: dict[str, object] = {
        "when": WHEN,
        "host": "pop.example.org",
        "port": 110,
        "session_id": "20250307t040509-k3fa",
    }
    return expand(template, **(values | changes))  # type: ignore[arg-type] # the tests' own values


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("&Y-&M-&D.log", "2025-03-07.log"),
        ("&y&m&d&t&h&p&s", "20250307040509pop.example.org11020250307t040509-k3fa"),
        ("&T.log", "040509.log"),
        ("logs/&H-&P.log", "logs/pop.example.org-110.log"),
        ("&S.jsonl", "20250307t040509-k3fa.jsonl"),
        ("a&&b", "a&b"),
        ("a&&Yb", "a&Yb"),
        ("a&&&Yb", "a&2025b"),
        ("a&xb&1&", "a&xb&1&"),
        ("/var/log/p.log", "/var/log/p.log"),
    ],
)
def test_putty_escapes(template: str, expected: str) -> None:
    assert name(template) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("pop.example.org", "pop.example.org"),
        ("a/b", "a.b"),
        ("../../etc/passwd", "etc.passwd"),
        ("..", "_"),
        (".hidden", "hidden"),
        ("", "_"),
        ("::1", "__1"),
        ("pöp\x1b[2J\n&S", "p_p__2J__S"),
        ("x" * 1000, "x" * VALUE_MAX),
    ],
)
def test_p48_values_are_slugged(value: str, expected: str) -> None:
    assert slug(value) == expected


@given(st.text(), st.text(), st.sampled_from(["&H", "d/&H", "d/x&H&S.log", "&S/&H", ".&H"]))
def test_p48_no_value_leads_out_of_the_directory(host: str, session: str, template: str) -> None:
    path = name(template, host=host, session_id=session)
    assert path.count("/") == template.count("/")
    assert re.fullmatch(r"[A-Za-z0-9._/-]+", path)
    for component, pattern in zip(path.split("/"), template.split("/"), strict=True):
        assert component not in {"", ".", ".."}
        assert not component.startswith(".") or pattern.startswith(".")
        assert len(component) <= 255 + 8


@pytest.mark.parametrize("template", ["", "/", "logs/", "logs/.", "..", "a/..", "logs/\0"])
def test_p48_a_template_that_names_no_file_is_refused(template: str) -> None:
    with pytest.raises(TemplateError) as refused:
        Template(template)
    assert "path of a log file" in str(refused.value) or "directory" in str(refused.value)


@pytest.mark.parametrize(
    ("template", "expected"),
    [("&S", True), ("a/&s.log", True), ("&&S", False), ("&Y", False), ("&&&S", True)],
)
def test_per_session(template: str, expected: bool) -> None:
    assert is_per_session(template) is expected


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("p.log", ""),
        ("logs/p.log", "logs"),
        ("/p.log", "/"),
        ("/var/&Y/x/p.log", "/var"),
        ("&Y/p.log", ""),
        ("/&Y/p.log", "/"),
        ("a/b/&S.log", "a/b"),
    ],
)
def test_fixed_directory(template: str, expected: str) -> None:
    assert Template(template).fixed_directory == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("putty.log", "putty-s1.log"),
        ("a.b/putty", "a.b/putty-s1"),
        ("/x/.hidden", "/x/.hidden-s1"),
        ("x.tar.gz", "x.tar-s1.gz"),
    ],
)
def test_with_session(path: str, expected: str) -> None:
    assert with_session(path, "s1") == expected
