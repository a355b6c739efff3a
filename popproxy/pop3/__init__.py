r"""What POP3 is: a sans-IO reading of sessions, standard library only.

Feed `Session` the bytes of both directions as they pass; it gives events. It opens no socket, keeps
no clock and writes no log, and other programs can use it alone:

    >>> from popproxy.pop3 import Session, Side
    >>> session = Session()
    >>> _ = session.receive(Side.SERVER, b"+OK ready\r\n", at=0)
    >>> _ = session.receive(Side.CLIENT, b"STAT\r\n", at=1)
    >>> [response] = session.receive(Side.SERVER, b"+OK 2 5718\r\n", at=2)
    >>> response.keyword, response.text
    (b'STAT', b'2 5718')
"""

from popproxy.pop3.events import (
    Command,
    Data,
    Departure,
    End,
    Ending,
    Eof,
    Event,
    Greeting,
    Injected,
    LinePart,
    Opaque,
    OpaqueReason,
    OpaqueStarted,
    Read,
    Response,
    SaslChallenge,
    SaslResponse,
    Side,
    State,
    Status,
    StlsWaiting,
    TlsStarted,
    Unanswered,
    Unexpected,
)
from popproxy.pop3.findings import FINDINGS, FindingCode, FindingText, Severity
from popproxy.pop3.grammar import COMMANDS, CommandSpec, ParsedCommand, parse_command
from popproxy.pop3.session import Session

__all__ = [
    "COMMANDS",
    "FINDINGS",
    "Command",
    "CommandSpec",
    "Data",
    "Departure",
    "End",
    "Ending",
    "Eof",
    "Event",
    "FindingCode",
    "FindingText",
    "Greeting",
    "Injected",
    "LinePart",
    "Opaque",
    "OpaqueReason",
    "OpaqueStarted",
    "ParsedCommand",
    "Read",
    "Response",
    "SaslChallenge",
    "SaslResponse",
    "Session",
    "Severity",
    "Side",
    "State",
    "Status",
    "StlsWaiting",
    "TlsStarted",
    "Unanswered",
    "Unexpected",
    "parse_command",
]
