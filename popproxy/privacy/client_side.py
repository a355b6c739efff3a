"""The client's events to records: the side where secrets come from."""

from __future__ import annotations

from collections.abc import Sequence

from popproxy.pop3.events import Command, Data, End, Injected, LinePart, Read, SaslResponse, Side
from popproxy.privacy.commands import (
    MASKED,
    WHOLE_LINES,
    ShownCommand,
    show_command,
    show_hidden,
    show_keyword,
    split_line,
)
from popproxy.privacy.masking import reads_of
from popproxy.privacy.readings import of_hidden_line
from popproxy.privacy.recording import Cited, Recording, Start
from popproxy.privacy.tables import text_of
from popproxy.records import CommandPart

_NUMBERED = frozenset({"RETR", "DELE", "TOP", "LIST", "UIDL"})
_CREDENTIALS = frozenset({"PASS", "APOP"})
_MAX_INJECTED_LINES = 32


def command(known: Recording, event: Command) -> None:
    """Record a command.

    Args:
        known: The session's recording.
        event: The command.
    """
    known.commands += 1
    usual = WHOLE_LINES.get(event.raw)
    if usual is not None and known.logins.exchange is None and not known.split_pass:
        known.crlf_seen = True
        _add(known, event, usual, event.reads, joined=event.joined)
        return
    at, joined = event.at, event.joined
    reads: Sequence[Read] = event.reads
    if event.overlong:
        if known.client_line is not None:
            reads, joined = known.client_line
            known.client_line = None
        known.overflow(at)
        shown = show_keyword(event.keyword, split_line(event.raw)[1])
    elif known.logins.exchange is not None:  # every line is a secret (P09)
        shown = show_hidden(event.raw)
    elif _goes_on(known, event.raw):
        shown = show_hidden(event.raw)
        known.hidden |= {event.seq}
    else:
        shown = show_command(event.raw, known.policy.pseudonyms)
        known.split_pass = shown.command == "PASS" and not event.raw.endswith(b"\r\n")
    if shown.masked or shown.user is not None or shown.mechanism is not None:
        secrets = known.logins.command(event.seq, shown)
        if shown.initial is not None:
            known.learn_user(known.logins.exchanging(event.seq).user, at)
        known.learn(secrets, at)
        if shown.begun:
            known.learned.expect_echo(b"PASS ", shown.begun)
    if known.learned.active and shown.arguments is not None:
        shown = _mask_what_was_learned(known, shown, event.raw)
    if shown.user is not None:
        known.learn_user(shown.user, at)
    _add(known, event, shown, reads_of(reads, shown.hidden_from, len(shown.raw)), joined=joined)
    if shown.command in _CREDENTIALS or shown.initial is not None:
        known.credentials_sent(at, event.seq)


def _add(
    known: Recording, event: Command, shown: ShownCommand, reads: Sequence[Read], *, joined: bool
) -> None:
    """Add the record of a command."""
    arguments, masked = shown.arguments, shown.masked
    number: int | None = None
    text: str | None = None
    if arguments is not None:
        text = text_of(arguments)
        if not masked and shown.command in _NUMBERED:
            number = int(arguments.split(b" ", 1)[0])
    if not masked:
        known.cited = Cited(event.seq, event.keyword, arguments or b"", shown.command, text)
    known.out.append(
        known.make.command(
            event.at,
            shown.raw,
            reads,
            CommandPart(
                seq=event.seq,
                state=event.state._value_,  # the same as `value`, which is slow up to Python 3.11
                command=shown.command,
                arguments=text,
                message_number=number,
                pipelined=event.pipelined,
                complete=event.terminated,
            ),
            joined=joined,
            masked=masked,
        )
    )


def _goes_on(known: Recording, raw: bytes) -> bool:
    """Tell whether a line is the rest of a password that holds a line feed (P08).

    It is if the line before was PASS, or such a rest, and ended in a bare LF, though the client
    knows how to end a line.
    """
    crlf = raw.endswith(b"\r\n")
    goes_on = known.split_pass and (crlf or known.crlf_seen)
    known.crlf_seen = known.crlf_seen or crlf
    if crlf:
        known.split_pass = False
    return goes_on


def _mask_what_was_learned(known: Recording, shown: ShownCommand, sent: bytes) -> ShownCommand:
    """Look for secrets in what a command shows (P04)."""
    learned, user = known.learned, shown.user
    secret_user = user is not None and known.policy.pseudonyms is not None and known.is_secret(user)
    if learned.overflowed or secret_user:
        hidden = show_keyword(shown.command.encode(), split_line(sent)[1])
        return hidden._replace(mechanism=shown.mechanism, initial=shown.initial)
    spans = learned.find(shown.raw).spans
    if not spans:
        return shown
    first = spans[0][0]
    return shown._replace(
        raw=known.mask_spans(shown.raw, spans)[0],
        arguments=known.mask_arguments(shown.command, shown.arguments or b""),
        hidden_from=first if shown.hidden_from is None else min(first, shown.hidden_from),
        masked=("raw", "pop3.arguments"),
    )


def sasl_response(known: Recording, event: SaslResponse) -> None:
    """Record a line of a SASL exchange (P09).

    Args:
        known: The session's recording.
        event: The line.
    """
    at, joined = event.at, event.joined
    reads: Sequence[Read] = event.reads
    line, line_end = split_line(event.raw)
    login = known.logins.exchanging(event.seq)
    if event.overlong:
        if known.client_line is not None:
            reads, joined = known.client_line
            known.client_line = None
        known.overflow(at)
    else:
        secrets = login.responded(line)
        known.learn_user(login.user, at)
        known.learn(secrets, at)
    raw = MASKED + line_end
    known.out.append(
        known.make.data(
            at,
            Side.CLIENT,
            "sasl-response",
            raw,
            reads_of(reads, 0, len(raw)),
            seq=event.seq,
            joined=joined,
            masked=True,
        )
    )
    known.credentials_sent(at, event.seq)


def line_part(known: Recording, event: LinePart) -> None:
    """Note a part of an overlong line: when it began, and nothing else.

    Args:
        known: The session's recording.
        event: The part.
    """
    if known.client_line is None:
        known.client_line = Start(event.reads, event.joined)


def message(known: Recording, event: Data | End) -> None:
    """Record a message that the client sends behind XTND XMIT: that there is one (P01).

    Args:
        known: The session's recording.
        event: A piece of it, or its end.
    """
    raw, hidden_from = event.raw, None
    if isinstance(event, Data):
        if known.message_begun:
            return
        known.message_begun = True
        raw, hidden_from = MASKED + b"\r\n", 0
    else:
        known.message_begun = False
    known.out.append(
        known.make.data(
            event.at,
            Side.CLIENT,
            "content",
            raw,
            reads_of(event.reads, hidden_from, len(raw)),
            seq=event.seq,
            joined=event.joined,
            masked=hidden_from is not None,
        )
    )


def injected(known: Recording, event: Injected) -> None:
    """Record plaintext behind STLS: that there was some, once for each side.

    Args:
        known: The session's recording.
        event: The octets.
    """
    if event.side is Side.CLIENT:
        lines = event.raw.split(b"\n", _MAX_INJECTED_LINES)
        if len(lines) > _MAX_INJECTED_LINES:
            known.overflow(event.at)
        for line in lines:
            known.learn(of_hidden_line(line.removesuffix(b"\r")), event.at)
    if event.side in known.injected:
        return
    known.injected += (event.side,)
    reads = (Read(event.at, len(MASKED)),)
    known.out.append(
        known.make.data(
            event.at, event.side, "line", MASKED, reads, joined=event.joined, masked=True
        )
    )
