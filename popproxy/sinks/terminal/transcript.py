"""The live transcript: what the records of all sessions look like to a person who watches.

It has the interface of a `popproxy.formats` writer, but there is no reader for it: it is made to be
looked at. What it shows of a session is what a person needs in order to follow the conversation;
the rest of what the records know is in the files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import tzinfo

from popproxy.formats.escape import visible
from popproxy.records import (
    AuthRecord,
    FindingRecord,
    GapRecord,
    Record,
    RewriteRecord,
    SessionEnd,
    SessionStart,
    TlsEnd,
    TlsFailed,
    TlsStart,
    WireRecord,
)
from popproxy.sinks.terminal import asides
from popproxy.sinks.terminal.conversation import Conversation
from popproxy.sinks.terminal.ink import Glyphs, Palette
from popproxy.sinks.terminal.layout import Layout, Segment
from popproxy.sinks.terminal.lines import CAP

FOLD = 40
"""Lines of a multi-line response that are shown unless told otherwise."""
_MAX_SESSIONS = 4096
_UNTIMED = frozenset({"time", "pauses"})
"""What an importer guessed of times, so that none are shown."""
_TAG_LENGTH = 4
"""Characters at the end of a session's name: in it, they count the process's sessions."""


class Transcript:
    """Turns records, of any number of sessions, into what a terminal shows.

    Session tags appear once a second session has been seen, and stay; when a capture is read back,
    only while several sessions are under way.

    Args:
        palette: The styles.
        glyphs: The signs.
        width: Gives the terminal's width in columns; asked once for each record.
        encoding: The terminal's; what it lacks is shown as an escape.
        fold: Lines of a multi-line response that are shown.
        cap: Octets of a line that are shown.
        close_messages: Whether a message is shown as one line that says from whom and about what.
        reading: Whether a capture is read back: sessions stand apart, and what all of them say of
            their recording is shown once.
        raw: Whether the conversation is shown octet by octet, and read by read.
        tz: The time zone of the times shown; local time if None.
    """

    def __init__(
        self,
        palette: Palette,
        glyphs: Glyphs,
        width: Callable[[], int],
        *,
        encoding: str = "utf-8",
        fold: int = FOLD,
        cap: int = CAP,
        close_messages: bool = False,
        reading: bool = False,
        raw: bool = False,
        tz: tzinfo | None = None,
    ) -> None:
        self._layout = Layout(palette, glyphs, width, tz)
        self._palette = palette
        self._glyphs = glyphs
        self._encoding = encoding
        self._fold = fold
        self._cap = cap
        self._close_messages = close_messages
        self._reading = reading
        self._raw = raw
        self._notice = ""
        self._sessions: dict[str, Conversation] = {}
        self._seen = 0
        self._rule: Segment = (glyphs.rule * 2, palette.rule)
        self._dot: Segment = (glyphs.dot.rjust(2), palette.quiet)

    def write(self, record: Record) -> bytes:
        """Give what is to be shown of a record; empty if that is nothing."""
        self._layout.measure()
        return self._encode(self._show(record))

    def end(self) -> bytes:
        """Give what is still to be shown when no further record comes."""
        sessions, self._sessions = self._sessions, {}
        return self._encode(line for session in sessions.values() for line in session.finish(None))

    def _encode(self, lines: Iterable[str]) -> bytes:
        return "".join(lines).encode(self._encoding, "backslashreplace")

    def _show(self, record: Record) -> Iterable[str]:
        alone = not self._sessions
        session = self._session(record.session.id)
        at = record.timestamp
        match record:
            case WireRecord():
                return session.show(record)
            case SessionStart():
                return self._start(record, session, apart=alone and self._seen > 1)
            case SessionEnd():
                return self._end(record, session)
            case FindingRecord():
                return [session.aside(at, *asides.finding(record, self._palette))]
            case AuthRecord():
                return [session.aside(at, self._dot, asides.login(record, self._palette))]
            case GapRecord():
                sign = ("!!", self._palette.error)
                return [session.aside(at, sign, asides.gap(record, self._palette))]
            case RewriteRecord():
                sign = (" !", self._palette.warning)
                return [session.aside(at, sign, asides.rewritten(record, self._palette))]
            case TlsStart() | TlsFailed() | TlsEnd():
                return [session.aside(at, self._dot, asides.tls(record, self._palette))]
        return []

    def _session(self, name: str) -> Conversation:
        session = self._sessions.get(name)
        if session is None:
            if len(self._sessions) >= _MAX_SESSIONS:
                # Their ends were lost, or they are more than anybody could follow.
                del self._sessions[next(iter(self._sessions))]
            inks = self._palette.tags
            tag = visible(name.rpartition("-")[2][-_TAG_LENGTH:]), inks[self._seen % len(inks)]
            session = Conversation(
                self._layout,
                tag,
                fold=self._fold,
                cap=self._cap,
                close_messages=self._close_messages,
                raw=self._raw,
            )
            self._sessions[name] = session
            self._seen += 1
            self._tag()
        return session

    def _tag(self) -> None:
        """Have tags if they are needed to tell sessions apart, and times if there are any."""
        if self._reading:
            sessions = self._sessions.values()
            self._layout.timed = not sessions or any(session.timed for session in sessions)
        self._layout.tagged = (len(self._sessions) if self._reading else self._seen) > 1

    def _start(self, record: SessionStart, session: Conversation, *, apart: bool) -> Iterator[str]:
        session.body = record.policy.body
        guessed = record.source.inferred if record.source is not None else []
        session.timed = _UNTIMED.isdisjoint(guessed)
        if session.octets is not None:
            session.octets.began = record.timestamp
            session.octets.timed = session.timed
        self._tag()
        if apart:
            yield "\n"
        sentence = asides.start(record, self._palette, self._glyphs)
        yield session.aside(record.timestamp, self._rule, sentence, filled=True)
        if not (self._reading and record.notice == self._notice):
            self._notice = record.notice
            plain = self._palette.plain
            yield session.aside(None, ("", plain), asides.notice(record, self._palette))
        for what in record.rewrites:
            if what.endswith("-after-stls"):
                continue  # it is told in its place, if it comes to that
            sign = (" !", self._palette.warning)
            yield session.aside(None, sign, asides.rewrite(what, self._palette))

    def _end(self, record: SessionEnd, session: Conversation) -> Iterator[str]:
        del self._sessions[record.session.id]
        yield from session.finish(record.timestamp)
        sentence = asides.end(record, self._palette, timed=session.timed)
        yield session.aside(record.timestamp, self._rule, sentence, filled=True)
        self._tag()
