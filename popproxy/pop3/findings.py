"""The departures from the RFCs, and the risks, that reading a session can show: one table.

A finding is a fact about the traffic, never about its content: no entry carries text of a peer.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class Severity(Enum):
    """How much a finding matters to the person who reads it."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class FindingCode(Enum):
    """The stable names of findings, as they stand in records."""

    BARE_LF = "bare-lf"
    BARE_CR = "bare-cr"
    NUL = "nul"
    LINE_TOO_LONG = "line-too-long"
    MALFORMED_STATUS = "malformed-status"
    NO_STATUS = "no-status"
    UNKNOWN_COMMAND = "unknown-command"
    EMPTY_COMMAND = "empty-command"
    MALFORMED_COMMAND = "malformed-command"
    COMMAND_IN_WRONG_STATE = "command-in-wrong-state"
    COMMAND_BEFORE_GREETING = "command-before-greeting"
    GREETING_MALFORMED = "greeting-malformed"
    GREETING_OF_SEVERAL_LINES = "greeting-of-several-lines"
    UNSOLICITED_RESPONSE = "unsolicited-response"
    UNSOLICITED_LINE = "unsolicited-line"
    UNSOLICITED_CHALLENGE = "unsolicited-challenge"
    COMMAND_UNANSWERED = "command-unanswered"
    STEP_LOST = "step-lost"
    STEP_RECOVERED = "step-recovered"
    AMBIGUOUS_TERMINATION = "ambiguous-termination"
    DOT_NOT_STUFFED = "dot-not-stuffed"
    RESPONSE_CUT_OFF = "response-cut-off"
    LINE_CUT_OFF = "line-cut-off"
    CODE_ON_OK = "code-on-ok"
    LINES_BEHIND_STLS = "lines-behind-stls"
    INJECTED_BEHIND_STLS = "injected-behind-stls"
    STLS_REFUSED = "stls-refused"
    XCLIENT_REFUSED = "xclient-refused"
    STLS_WITHOUT_HANDSHAKE = "stls-without-handshake"
    STLS_IN_TLS = "stls-in-tls"
    TLS_ON_PLAIN_PORT = "tls-on-plain-port"
    HTTP_ON_POP3_PORT = "http-on-pop3-port"
    TOO_MANY_PENDING = "too-many-pending"
    SASL_LINES_BEYOND_EXCHANGE = "sasl-lines-beyond-exchange"
    CREDENTIALS_IN_CLEAR = "credentials-in-clear"
    OCTETS_DIFFER = "octets-differ"
    PARSER_FAILED = "parser-failed"
    TOO_MANY_SECRETS = "too-many-secrets"


class FindingText(NamedTuple):
    """What a finding means.

    Attributes:
        severity: How much it matters.
        rfc: The RFC and section that it departs from, as `RFC 1939 section 3`; empty if none.
        what: One sentence for a person.
    """

    severity: Severity
    rfc: str
    what: str


_INFO, _WARNING, _ERROR = Severity.INFO, Severity.WARNING, Severity.ERROR

FINDINGS: dict[FindingCode, FindingText] = {
    FindingCode.BARE_LF: FindingText(
        _WARNING, "RFC 1939 section 3", "A line ends in LF alone instead of CRLF."
    ),
    FindingCode.BARE_CR: FindingText(
        _WARNING, "RFC 1939 section 3", "A line holds a CR that no LF follows."
    ),
    FindingCode.NUL: FindingText(_WARNING, "RFC 1939 section 3", "A line holds a NUL octet."),
    FindingCode.LINE_TOO_LONG: FindingText(
        _WARNING,
        "RFC 2449 section 4",
        "A line is longer than a server or a client has to accept.",
    ),
    FindingCode.MALFORMED_STATUS: FindingText(
        _WARNING, "RFC 1939 section 3", "A response begins with neither +OK nor -ERR."
    ),
    FindingCode.NO_STATUS: FindingText(
        _WARNING, "RFC 1939 section 3", "A line without a status indicator stands for a response."
    ),
    FindingCode.UNKNOWN_COMMAND: FindingText(
        _INFO,
        "RFC 1939 section 3",
        "The client sent a command that no specification known here has.",
    ),
    FindingCode.EMPTY_COMMAND: FindingText(
        _WARNING, "RFC 1939 section 3", "The client sent an empty line where a command belongs."
    ),
    FindingCode.MALFORMED_COMMAND: FindingText(
        _WARNING, "RFC 1939 section 3", "A known command has arguments that do not fit it."
    ),
    FindingCode.COMMAND_IN_WRONG_STATE: FindingText(
        _WARNING, "RFC 1939 section 3", "A command was sent in a state that does not allow it."
    ),
    FindingCode.COMMAND_BEFORE_GREETING: FindingText(
        _WARNING, "RFC 1939 section 4", "The client spoke before the server's greeting."
    ),
    FindingCode.GREETING_MALFORMED: FindingText(
        _WARNING, "RFC 1939 section 4", "The greeting begins with neither +OK nor -ERR."
    ),
    FindingCode.GREETING_OF_SEVERAL_LINES: FindingText(
        _WARNING, "RFC 1939 section 4", "The greeting has more than one line."
    ),
    FindingCode.UNSOLICITED_RESPONSE: FindingText(
        _WARNING,
        "RFC 1939 section 3",
        "The server sent a response that no command was waiting for.",
    ),
    FindingCode.UNSOLICITED_LINE: FindingText(
        _WARNING, "RFC 1939 section 3", "The server sent a line that belongs to no response."
    ),
    FindingCode.UNSOLICITED_CHALLENGE: FindingText(
        _WARNING, "RFC 5034 section 4", "The server sent a challenge though no AUTH was under way."
    ),
    FindingCode.COMMAND_UNANSWERED: FindingText(
        _WARNING, "RFC 1939 section 3", "A command was never answered."
    ),
    FindingCode.STEP_LOST: FindingText(
        _ERROR,
        "RFC 1939 section 3",
        "Commands and responses are out of step: which answers which is a guess from here on.",
    ),
    FindingCode.STEP_RECOVERED: FindingText(
        _INFO, "RFC 1939 section 3", "Commands and responses are in step again."
    ),
    FindingCode.AMBIGUOUS_TERMINATION: FindingText(
        _ERROR,
        "RFC 1939 section 3",
        "A lone dot stands between line ends of which one is a bare LF: some programs end the"
        " response there, others do not.",
    ),
    FindingCode.DOT_NOT_STUFFED: FindingText(
        _WARNING, "RFC 1939 section 3", "A line begins with a single dot that was not stuffed."
    ),
    FindingCode.RESPONSE_CUT_OFF: FindingText(
        _ERROR, "RFC 1939 section 3", "The connection ended inside a multi-line response."
    ),
    FindingCode.LINE_CUT_OFF: FindingText(
        _WARNING, "RFC 1939 section 3", "The connection ended inside a line."
    ),
    FindingCode.CODE_ON_OK: FindingText(
        _INFO, "RFC 2449 section 8", "A response code stands in a positive response."
    ),
    FindingCode.LINES_BEHIND_STLS: FindingText(
        _ERROR, "RFC 2595 section 4", "The client sent more lines behind STLS, in the clear."
    ),
    FindingCode.INJECTED_BEHIND_STLS: FindingText(
        _ERROR,
        "RFC 2595 section 4",
        "Plaintext stood between STLS and the TLS handshake: somebody may have put it there.",
    ),
    FindingCode.STLS_REFUSED: FindingText(
        _WARNING, "RFC 2595 section 4", "The server refused STLS; the session stays in the clear."
    ),
    FindingCode.XCLIENT_REFUSED: FindingText(
        _WARNING,
        "",
        "The server refused XCLIENT: to it, popproxy's own address is the client's.",
    ),
    FindingCode.STLS_WITHOUT_HANDSHAKE: FindingText(
        _ERROR,
        "RFC 2595 section 4",
        "STLS was accepted but no TLS handshake followed; the session stays in the clear.",
    ),
    FindingCode.STLS_IN_TLS: FindingText(
        _WARNING, "RFC 2595 section 4", "STLS was sent inside TLS."
    ),
    FindingCode.TLS_ON_PLAIN_PORT: FindingText(
        _ERROR, "RFC 8314 section 3", "The client began a TLS handshake on a port without TLS."
    ),
    FindingCode.HTTP_ON_POP3_PORT: FindingText(
        _ERROR, "RFC 1939 section 3", "The client speaks HTTP."
    ),
    FindingCode.TOO_MANY_PENDING: FindingText(
        _ERROR,
        "RFC 2449 section 6.6",
        "More commands wait for an answer than are kept track of; the rest of the session is"
        " recorded as opaque.",
    ),
    FindingCode.SASL_LINES_BEYOND_EXCHANGE: FindingText(
        _WARNING,
        "RFC 5034 section 4",
        "The client sent more lines during AUTH than the server asked for.",
    ),
    FindingCode.CREDENTIALS_IN_CLEAR: FindingText(
        _WARNING, "RFC 8314 section 3", "Credentials went to another host without encryption."
    ),
    FindingCode.OCTETS_DIFFER: FindingText(
        _WARNING, "RFC 1939 section 5", "A message has another size than the server announced."
    ),
    FindingCode.PARSER_FAILED: FindingText(
        _ERROR,
        "",
        "popproxy failed to read the traffic; forwarding goes on, the rest of the session is"
        " recorded as opaque. Please report this.",
    ),
    FindingCode.TOO_MANY_SECRETS: FindingText(
        _ERROR,
        "",
        "More secrets were sent than are kept in memory; from here on no text of either side is"
        " shown in this session.",
    ),
}
