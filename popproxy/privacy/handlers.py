"""Which part of the recorder deals with which event: one table."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

from popproxy.pop3.events import (
    Command,
    Data,
    Departure,
    End,
    Event,
    Greeting,
    Injected,
    LinePart,
    Opaque,
    OpaqueReason,
    OpaqueStarted,
    Response,
    SaslChallenge,
    SaslResponse,
    Side,
    TlsStarted,
    Unanswered,
    Unexpected,
)
from popproxy.pop3.findings import FindingCode
from popproxy.privacy import client_side, contents, responses, server_lines
from popproxy.privacy.opaque import OpaqueSide
from popproxy.privacy.recording import Recording
from popproxy.records import TlsPart

_E = TypeVar("_E", bound=Event)
Handler = Callable[[Recording, Event], None]
"""Takes an event in: makes records of it, or remembers what later ones need."""

_SERVER = Side.SERVER


def _data(known: Recording, event: Data) -> None:
    if event.side is _SERVER:
        contents.data(known, event)
    else:
        client_side.message(known, event)


def _end(known: Recording, event: End) -> None:
    if event.side is _SERVER:
        contents.end(known, event)
    else:
        client_side.message(known, event)


def _line_part(known: Recording, event: LinePart) -> None:
    if event.side is _SERVER:
        server_lines.line_part(known, event)
    else:
        client_side.line_part(known, event)


def _departure(known: Recording, event: Departure) -> None:
    if event.code is FindingCode.STEP_LOST:
        known.in_step = False
    elif event.code is FindingCode.STEP_RECOVERED:
        known.in_step = True
    if event.seq is not None and event.seq in known.hidden:
        return  # what is odd in it may be the secret's
    known.find(event.at, event.code, event.side.value, seq=event.seq, count=event.count)


def _tls_started(known: Recording, _event: TlsStarted) -> None:
    known.injected = ()
    known.logins.forget()
    known.listing = known.unique_ids = None


def _opaque_started(known: Recording, event: OpaqueStarted) -> None:
    tls = event.reason in (OpaqueReason.STLS_PASSED, OpaqueReason.TLS_ON_PLAIN_PORT)
    known.opaque = {side: OpaqueSide(tls=tls) for side in Side}
    if tls:
        known.exposed = ()
        known.out.append(known.make.tls_start(event.at, TlsPart(leg="client", passed_through=True)))


def _opaque(known: Recording, event: Opaque) -> None:
    if known.opaque is not None:
        known.opaque[event.side].feed(event.raw)


def _handler(handle: Callable[[Recording, _E], None]) -> Handler:
    """Let a handler of one type of event stand in the table of all."""
    return cast(Handler, handle)


HANDLERS: dict[type[Event], Handler] = {
    Command: _handler(client_side.command),
    Response: _handler(responses.response),
    Data: _handler(_data),
    End: _handler(_end),
    Greeting: _handler(server_lines.greeting),
    SaslResponse: _handler(client_side.sasl_response),
    SaslChallenge: _handler(server_lines.sasl_challenge),
    Unexpected: _handler(server_lines.unexpected),
    Unanswered: _handler(responses.unanswered),
    LinePart: _handler(_line_part),
    Injected: _handler(client_side.injected),
    Departure: _handler(_departure),
    TlsStarted: _handler(_tls_started),
    OpaqueStarted: _handler(_opaque_started),
    Opaque: _handler(_opaque),
}
"""What is done with an event. `StlsWaiting` and `Eof` add nothing that other events do not tell."""
