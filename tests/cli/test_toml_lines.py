from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popproxy.cli.toml_lines import line_numbers

EXAMPLE = '''\
# first line
title = "x"  # [not.a.table]

[record]
body = """
[fake]
jsonl = 1
"""
text = [
  "a",  # putty = 3
  "]",
]
'quoted key' = '[also.fake]'
dotted.deep = 1

[[route]]
listen = "one"
[[route]]
listen = 'two' # "
upstream = { name = "x", port = [1,
  2] }
[route.sub]
x = 1
[a."b.c".d]
y = 1979-05-27T07:32:00Z
'''


def test_every_table_and_key_is_found_on_its_line() -> None:
    assert line_numbers(EXAMPLE) == {
        ("title",): 2,
        ("record",): 4,
        ("record", "body"): 5,
        ("record", "text"): 9,
        ("record", "quoted key"): 13,
        ("record", "dotted"): 14,
        ("record", "dotted", "deep"): 14,
        ("route", 0): 16,
        ("route", 0, "listen"): 17,
        ("route", 1): 18,
        ("route", 1, "listen"): 19,
        ("route", 1, "upstream"): 20,
        ("route", 1, "sub"): 22,
        ("route", 1, "sub", "x"): 23,
        ("a", "b.c", "d"): 24,
        ("a", "b.c", "d", "y"): 25,
    }


@pytest.mark.parametrize(
    "text", ["", "\n\n", "# only a comment", "x = 1", "[a]", "x = 1\r\ny = 2\r\n"]
)
def test_short_texts(text: str) -> None:
    assert {path[0] for path in line_numbers(text)} == set(tomllib.loads(text))


def test_the_annotated_example_has_a_line_for_every_key() -> None:
    text = (Path(__file__).parents[2] / "config" / "popproxy.toml").read_text()
    lines = text.splitlines()
    for path, number in line_numbers(text).items():
        if isinstance(path[-1], str) and len(path) > 1:
            assert lines[number - 1].startswith(path[-1])


@given(st.text(alphabet="ab[]{}\"'#=.,\n 1-", max_size=60))
def test_whatever_tomllib_accepts_can_be_located(text: str) -> None:
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    found = line_numbers(text)
    assert all(1 <= line <= text.count("\n") + 1 for line in found.values())
    assert set(content) == {path[0] for path in found}
