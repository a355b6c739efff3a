"""A capture as one HTML page, to be read by people.

The page begins with a list of the sessions, so that it can be written only when all are known: what
each session adds is kept, and bounded. Of a message's content the first 64 KiB are shown, of a
session 20,000 lines (`popproxy.formats.html_session`), and of a capture as many sessions as fit
into `PAGE_MOST`; the others are in the list, with their figures. Whatever is left out is counted
where it is missing.

Every text of a peer is made visible (`popproxy.formats.escape`) and then escaped with quotes, by
`popproxy.formats.html_text`; nothing here puts one into an attribute but numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from popproxy import __version__
from popproxy.formats import html_page
from popproxy.formats.html_session import HtmlSession, add, draw_bars, show_body
from popproxy.formats.html_text import count, milliseconds, shown_text
from popproxy.records import Record, SessionEnd

PAGE_MOST: Final = 64 * 1024 * 1024
"""Characters of the page; sessions beyond are in its list only."""

_NO_YEAR: Final = 1970  # of imported sessions without a date
LISTED_MOST: Final = 10_000
"""Sessions in the list."""


class HtmlWriter:
    """Writes a capture as one page, all of it at its end."""

    def __init__(self) -> None:
        self._sessions: dict[str, HtmlSession] = {}
        self._done: list[HtmlSession] = []
        self._size = 0
        self._number = 0

    def write(self, record: Record) -> bytes:
        """Take a record in; nothing is written before the end."""
        name = record.session.id
        session = self._sessions.get(name)
        if session is None:
            self._number += 1
            session = HtmlSession(number=self._number, id=name, began=record.timestamp)
            self._sessions[name] = session
        add(session, record)
        if isinstance(record, SessionEnd):
            self._finish(self._sessions.pop(name))
        return b""

    def end(self) -> bytes:
        """Give the page."""
        for session in self._sessions.values():
            self._finish(session)
        self._sessions.clear()
        self._done.sort(key=lambda session: session.number)
        return "".join(self._page()).encode()

    def _finish(self, session: HtmlSession) -> None:
        """Put a session's part of the page together, if there is room for it."""
        show_body(session, None)
        draw_bars(session)
        if self._size < PAGE_MOST:
            session.done = "".join(_section(session))
            self._size += len(session.done)
        session.lines = []
        self._done.append(session)

    def _page(self) -> Iterator[str]:
        sessions = self._done
        first = min((session.began for session in sessions), default=None)
        dated = first is not None and first.year > _NO_YEAR
        title = "POP3 sessions" + (f" of {first:%Y-%m-%d}" if first and dated else "")
        yield html_page.head(title)
        findings = sum(session.findings for session in sessions)
        yield (
            f"<header>\n<h1>{title}</h1>\n<p>{count(len(sessions), 'session')},"
            f" {count(sum(session.commands for session in sessions), 'command')},"
            f" {count(sum(session.retrieved for session in sessions), 'message')} retrieved,"
            f" {count(findings, 'finding')}.</p>\n"
            '<p class="dim">Times are UTC. Passwords and other credentials are masked:'
            " <mark>********</mark> stands in their place. What peers said is shown with visible"
            f" escapes: \\x1b is an octet. Made by popproxy {shown_text(__version__)}.</p>\n"
            "</header>\n"
        )
        yield from self._list()
        yield "<main>\n"
        for session in sessions:
            yield session.done
        yield "</main>\n"
        yield html_page.foot()

    def _list(self) -> Iterator[str]:
        yield '<nav id="sessions" tabindex="-1" aria-label="Sessions"><div class="wide"><table>\n'
        yield "<thead><tr>"
        numbers = ("commands", "retrieved", "deleted", "findings")
        for name in ("", "began", "client", "user"):
            yield f'<th scope="col">{name}</th>'
        for name in numbers:
            yield f'<th scope="col" class="n">{name}</th>'
        yield '<th scope="col">end</th></tr></thead>\n<tbody>\n'
        for session in self._done[:LISTED_MOST]:
            yield _row(session)
        yield "</tbody>\n</table></div>\n"
        hidden = len(self._done) - LISTED_MOST
        if hidden > 0:
            yield f"<p>{count(hidden, 'more session')} in the capture.</p>\n"
        if any(not session.done for session in self._done):
            yield (
                "<p>The page has reached its size: sessions without a link are listed only."
                " Choose some with --session, --user, --since or --until.</p>\n"
            )
        yield "</nav>\n"


def _began(session: HtmlSession) -> str:
    """Tell when a session began, as far as anybody knows."""
    if not session.timed and session.began.year == _NO_YEAR:
        return "–"
    return f"{session.began:%Y-%m-%d %H:%M:%S}"


def _row(session: HtmlSession) -> str:
    start, end = session.start, session.end
    client = f"{start.client.address}:{start.client.port}" if start is not None else "–"
    number = f"{session.number}"
    link = f'<a href="#s{number}">{number}</a>' if session.done else number
    deleted = f"{end.summary.deletions_committed:,}" if end is not None else "–"
    cells = (
        f'<td class="n">{link}</td><td>{_began(session)}</td>',
        f"<td>{shown_text(client)}</td><td>{shown_text(session.user) or '–'}</td>",
        f'<td class="n">{session.commands:,}</td><td class="n">{session.retrieved:,}</td>',
        f'<td class="n">{deleted}</td><td class="n">{session.findings:,}</td>',
        f"<td>{shown_text(end.summary.reason) if end is not None else 'not in the capture'}</td>",
    )
    return f"<tr>{''.join(cells)}</tr>\n"


def _section(session: HtmlSession) -> Iterator[str]:
    number = session.number
    yield f'<section id="s{number}" aria-labelledby="h{number}">\n'
    yield f'<h2 id="h{number}">Session {number}<small>{shown_text(session.id)}</small></h2>\n<dl>\n'
    for name, value in _facts(session):
        yield f"<dt>{name}</dt><dd>{shown_text(value)}</dd>\n"
    yield '</dl>\n<ol class="talk">\n'
    yield from session.lines
    yield "</ol>\n"
    if session.left_out:
        yield f"<p>{count(session.left_out, 'more line')} of this session not shown.</p>\n"
    yield "</section>\n"


def _facts(session: HtmlSession) -> Iterator[tuple[str, str]]:
    start, end = session.start, session.end
    yield "began", f"{session.began:%Y-%m-%d %H:%M:%S.%f} UTC" if session.timed else _began(session)
    if start is not None:
        yield "client", f"{start.client.address} port {start.client.port}"
        if start.server is not None:
            yield "server", f"{start.server.address} port {start.server.port}"
        yield "route", f"{start.route.listen} to {start.route.upstream}"
        yield "recorded", start.notice
        if start.rewrites:
            yield "may change", ", ".join(start.rewrites)
        if start.source is not None:
            guessed = ", ".join(start.source.inferred)
            yield "imported from", start.source.kind + (f"; guessed: {guessed}" if guessed else "")
    if session.user:
        yield "user", session.user
    for one in session.tls:
        yield "TLS", one
    if end is not None:
        told = end.summary
        yield "end", told.reason + (f": {told.detail}" if told.detail else "")
        if end.event.duration is not None and session.timed:
            yield "lasted", milliseconds(end.event.duration)
        yield (
            "deletions",
            f"{told.deletions_committed:,} committed, {told.deletions_pending:,} pending",
        )
        yield (
            "octets",
            f"{told.octets_client:,} of the client, {told.octets_server:,} of the server",
        )
