"""The page: safe against its own content, complete, and bounded."""

from __future__ import annotations

import io
import re
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings

from popproxy.formats import HtmlWriter, html, html_page, html_session
from popproxy.formats.escape import visible
from popproxy.importers import read
from popproxy.peers.script import Conversation
from popproxy.records import Record, WireRecord
from tests.support.conversations import SECRET, every_conversation
from tests.support.core import turns
from tests.support.make_samples import records as records_of
from tests.support.recording import of, told
from tests.support.records import HARMFUL, captures

_TAGS = {
    *(
        "html",
        "head",
        "meta",
        "title",
        "style",
        "script",
        "body",
        "header",
        "nav",
        "main",
        "section",
    ),
    *("a", "h1", "h2", "p", "mark", "div", "table", "thead", "tbody", "tr", "th", "td", "small"),
    *("dl", "dt", "dd", "ol", "li", "span", "code", "details", "summary", "pre", "b"),
    *("svg", "rect"),
}
_ATTRIBUTES = {
    *("lang", "charset", "http-equiv", "content", "name", "class", "href", "id", "tabindex"),
    *("aria-label", "aria-labelledby", "aria-hidden", "scope", "title", "open"),
    *("viewbox", "preserveaspectratio", "x", "width", "height", "fill"),
}
_HREF = re.compile(r"#(?:sessions|s\d+(?:c\d+)?)")


class Page(HTMLParser):
    """What a browser makes of a page, as far as it matters here."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.open: list[str] = []
        self.codes: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in ("meta", "rect"):
            self.open.append(tag)
        if tag in ("code", "pre"):
            self.codes.append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.text += data
        if {"code", "pre"} & set(self.open):
            self.codes[-1] += data


def page_of(records: list[Record]) -> str:
    writer = HtmlWriter()
    assert b"".join(map(writer.write, records)) == b""
    return writer.end().decode()


def safe(page: str) -> Page:
    """Check that nothing on the page comes from content but text."""
    read = Page(page)
    assert read.open == []
    assert set(read.tags) <= _TAGS
    assert read.tags.count("script") == read.tags.count("style") == 1
    for name, value in read.attributes:
        assert name in _ATTRIBUTES
        if name == "href":
            assert _HREF.fullmatch(value or "")
    content = page.replace(html_page.STYLE, "").replace(html_page.SCRIPT, "")
    assert not set(content) & set(HARMFUL) - {"\n"}
    return read


@every_conversation
def test_p47_a_page_shows_every_line_and_nothing_else_of_peers(conversation: Conversation) -> None:
    records = records_of(conversation.name, 1)
    page = page_of(records)
    read = safe(page)
    assert SECRET.decode() not in page
    shown = "\n".join(read.codes)
    for record in of(records, WireRecord):
        for line in record.wire.split(b"\n")[:50]:
            assert visible(line.removesuffix(b"\r")[:200]) in shown


@settings(max_examples=40, deadline=None)
@given(captures)
def test_p47_any_capture_is_a_safe_page(records: list[Record]) -> None:
    safe(page_of(records))


HOSTILE = [
    "<script>alert(1)</script>",
    "</pre></details><img src=x onerror=alert(1)>",
    "\"' onmouseover=alert(1) x='",
    "<!--", "]]>", "</script>", "</style>", "&lt;b&gt;", "javascript:alert(1)",
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_p47_markup_of_peers_is_text(text: str) -> None:
    records = told(
        turns(f"S: +OK {text}", "C: USER ada", "S: +OK", "C: PASS secret-word", "S: +OK")
        + turns("C: RETR 1", "S: +OK", f"S: Subject: {text}", "S: ", f"S: {text}", "S: .")
    )
    read = safe(page_of(records))
    assert read.text.count(text) >= 3


def test_the_policy_lets_in_the_page_s_own_style_and_script_only() -> None:
    page = page_of(records_of("ordinary-session", 1))
    assert html_page.POLICY.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in html_page.POLICY
    assert "http" not in page.replace("http-equiv", "")
    assert " style=" not in page
    assert " on" not in "".join(name for name, _ in Page(page).attributes)


def test_bodies_are_folded_with_counts_and_cut_with_a_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(html_session, "BODY_SHOWN", 1_000)
    body = "".join(f"S: line {number}|" for number in range(500)).split("|")[:-1]
    records = told(turns("S: +OK", "C: RETR 1", "S: +OK", "S: Subject: long", "S: ", *body, "S: ."))
    page = page_of(records)
    assert "502 lines, " in page
    assert re.search(r"… [0-9,]+ more octets", page)
    assert "<details><summary>" in page
    assert "line 499" not in page
    short = page_of(told(turns("S: +OK", "C: LIST", "S: +OK", "S: 1 5", "S: .")))
    assert "<details open><summary>1 lines, 5 octets" in short


def test_what_is_too_much_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(html_session, "LINES_MOST", 5)
    assert "more lines of this session not shown" in page_of(records_of("ordinary-session", 1))
    monkeypatch.undo()
    monkeypatch.setattr(html, "PAGE_MOST", 10)
    records = records_of("ordinary-session", 1) + records_of("pipelining", 2)
    page = page_of(records)
    assert 'href="#s1"' in page
    assert 'href="#s2"' not in page
    assert "The page has reached its size" in page


def test_findings_lead_to_their_command() -> None:
    page = page_of(told(turns("S: +OK", "C: RETR x", "S: -ERR")))
    assert 'href="#s1c1"' in page
    assert 'id="s1c1"' in page
    assert "warning malformed-command" in Page(page).text


def test_sessions_that_mix_are_told_apart() -> None:
    one, two = records_of("ordinary-session", 1), records_of("pipelining", 2)
    mixed = [record for pair in zip(one, two, strict=False) for record in pair]
    page = page_of(mixed)
    assert page.index('id="s1"') < page.index('id="s2"')
    assert page.count("<section") == 2


def test_line_ends_of_other_kinds_are_marked() -> None:
    page = Page(page_of(told(turns(b"S: +OK\n", b"C: QUIT"))))
    assert "+OK LF" in page.text
    assert "no end" in page.text


def test_times_that_an_importer_made_up_are_not_shown() -> None:
    log = b"+OK ready\nuser ada\n+OK\nquit\n+OK\n"
    page = page_of(list(read(io.BytesIO(log), "terminal")))
    assert " ms" not in Page(page).text
    assert "began–" in Page(page).text
    assert "<rect" not in page
    assert "guessed: side, time" in page
