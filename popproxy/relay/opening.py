"""The beginning of a session: TLS with the client if its port has it, the server, TLS with it.

The client comes first: where it has to begin TLS, nothing else is done for it before it has. What
it should have done and did not is told it in words that it can read: in POP3 or in HTTP, in the
clear, since it speaks no TLS.

The server's leg is put under TLS before the client sees the greeting, so that the client can be
told of all that goes wrong there. Its greeting is kept for the pumps. If the server is to learn who
the client is, it is told so on the way (`popproxy.relay.announcing`).
"""

from __future__ import annotations

import trio

from popproxy.pop3 import FindingCode, Side
from popproxy.records import TlsPart
from popproxy.relay.announcing import Added, NotALine, NotTold, one_line, send_header, send_xclient
from popproxy.relay.course import Course
from popproxy.relay.encryption import Encrypted, Encryption, NotEncrypted
from popproxy.relay.legs import LegLost
from popproxy.relay.service import permanent_failure, temporary_failure
from popproxy.relay.upstream import Unreachable
from popproxy.tls.failures import TlsFailure

HANDSHAKE = b"\x16"
"""The first octet of a TLS handshake (RFC 8446, section 5.1)."""
_METHODS = (b"GET ", b"HEAD ", b"POST ", b"PUT ", b"OPTIONS ", b"CONNECT ", b"DELETE ", b"PRI ")
_EXPECTS_TLS = "this port expects TLS from the start: set SSL/TLS in the client"
_HTTP = (
    b"HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n"
    b"This is a port for mail clients (POP3 over TLS), not for a browser.\n"
)


class Opened:
    """What came of an opening.

    Attributes:
        told: What was done and is to be recorded: legs under TLS, what was added, what was found.
        failed: What is told of a leg on which TLS failed.
        greeting: Octets of the server that were read, for the client.
        last_line: What the client is told instead, if the session ends here.
        reason: Why it does, and the cause in words.
    """

    __slots__ = ("failed", "greeting", "last_line", "reason", "told")

    def __init__(self) -> None:
        self.told: list[TlsPart | Added | FindingCode] = []
        self.failed: TlsPart | None = None
        self.greeting = b""
        self.last_line = b""
        self.reason: tuple[str, str | None] | None = None

    def fail(self, reason: str, cause: str | None, last_line: bytes = b"") -> None:
        """Note that the session ends here."""
        self.reason, self.last_line = (reason, cause), last_line


async def open_session(course: Course, announcement: bytes = b"") -> Opened:
    """Connect a session to its server, each leg spoken with as the route wants.

    Args:
        course: The session; it gets the server's leg, and legs under TLS in place of others.
        announcement: What tells the server who the client is, if it is to be told.
    """
    opened = Opened()
    service = course.service
    encryption, manner = service.encryption, service.manner
    if manner.listen == "pop3s" and encryption is not None:
        await _await_client(course, encryption, opened)
        if opened.reason is not None:
            return opened
    try:
        reached = await service.connector.connect()
    except Unreachable as unreachable:
        line = temporary_failure(f"cannot reach the server: {unreachable.cause}")
        opened.fail("connect-failed", unreachable.cause, line)
        return opened
    course.server, course.server_address = reached.leg, reached.server
    if announcement and manner.announce != "xclient":
        try:
            opened.told.append(await send_header(course, announcement))
        except LegLost as loss:
            opened.fail("server-reset", loss.cause, temporary_failure("the server hung up"))
            return opened
    if manner.server_tls_first and encryption is not None:
        await _encrypt_server(course, encryption, opened, by_stls=manner.upstream == "pop3+stls")
    if announcement and manner.announce == "xclient" and opened.reason is None:
        try:
            told = await send_xclient(course, announcement, opened.greeting)
        except NotTold as failure:
            opened.fail("xclient-failed", failure.cause, failure.line)
        else:
            opened.greeting = told.greeting
            opened.told += [*told.added, *([FindingCode.XCLIENT_REFUSED] if told.refused else [])]
    return opened


async def _await_client(course: Course, encryption: Encryption, opened: Opened) -> None:
    """Do the handshake that the client has to begin."""
    seconds = course.service.timeouts.handshake
    first = None
    with trio.move_on_after(seconds):
        await course.client.readable()
        first = course.client.peek()
    if first == HANDSHAKE:
        try:
            encrypted = await encryption.with_client(course.client)
        except NotEncrypted as failure:
            opened.failed = failure.part
            opened.fail("tls-failed", failure.cause)
        else:
            opened.told.append(encrypted.part)
            course.take_client(encrypted)
    elif first is None:
        cause = f"the client began no TLS handshake within {seconds:g} seconds"
        _refuse(opened, "timeout", cause, permanent_failure(_EXPECTS_TLS))
    elif first:
        await _answer_in_clear(course, opened)
    else:
        opened.fail("client-closed", None)


async def _answer_in_clear(course: Course, opened: Opened) -> None:
    try:
        said = await course.client.read()
    except LegLost as loss:
        opened.fail("client-reset", loss.cause)
        return
    if said.startswith(_METHODS):
        _refuse(opened, "not-tls", "the client spoke HTTP where TLS is expected", _HTTP)
    else:
        cause = "the client spoke in the clear where TLS is expected"
        _refuse(opened, "not-tls", cause, permanent_failure(_EXPECTS_TLS))


def _refuse(opened: Opened, code: str, cause: str, last_line: bytes) -> None:
    remedy = "set SSL/TLS (not STARTTLS) in the client for this port, or listen with pop3://"
    opened.failed = TlsPart(leg="client", code=code, cause=cause, remedy=remedy)
    opened.fail("tls-failed", cause, last_line)


async def _encrypt_server(
    course: Course, encryption: Encryption, opened: Opened, *, by_stls: bool
) -> None:
    """Put the server's leg under TLS, before the client sees anything of it."""
    try:
        if by_stls and not await _stls(course, opened):
            return
        encrypted: Encrypted = await encryption.with_server(course.leg(Side.SERVER))
    except NotEncrypted as failure:
        opened.failed = failure.part
        failed = temporary_failure if failure.temporary else permanent_failure
        line = failed(f"no TLS with the server: {failure.cause}")
        opened.fail("tls-failed", failure.cause, line)
    else:
        opened.told.append(encrypted.part)
        course.take_server(encrypted)


async def _stls(course: Course, opened: Opened) -> bool:
    """Use STLS with the server (RFC 2595, section 4); False if the session ends or needs none.

    Raises:
        NotEncrypted: The server does not do its part.
    """
    server = course.leg(Side.SERVER)
    seconds = course.service.timeouts.handshake
    try:
        with trio.fail_after(seconds):
            opened.greeting = await one_line(server)
            if not opened.greeting.startswith(b"+OK"):
                return _greeted_without(opened)
            await server.write(b"STLS\r\n")
            answer = await one_line(server)
    except trio.TooSlowError:
        cause = f"the server did not begin STLS within {seconds:g} seconds"
        raise _not_by_stls("timeout", cause, temporary=True) from None
    except LegLost as loss:
        raise _not_by_stls("closed", f"the connection is gone: {loss.cause}") from None
    except NotALine as odd:
        how = "closed before STLS" if odd.code == "closed" else "did not answer as POP3 servers do"
        raise _not_by_stls(odd.code, f"the server {how}") from None
    if not answer.startswith(b"+OK"):
        raise _not_by_stls("stls-refused", "the server refused STLS")
    if server.peek() is not None:
        raise _not_by_stls("injected", "something came in the clear behind the answer to STLS")
    return True


def _greeted_without(opened: Opened) -> bool:
    """The server refuses the session: the client gets its words, and nothing else is said."""
    opened.fail("tls-failed", "the server refused the session before STLS", opened.greeting)
    return False


def _not_by_stls(code: str, cause: str, *, temporary: bool = False) -> NotEncrypted:
    remedy = (
        "see whether the server offers STLS (openssl s_client -starttls pop3 -connect HOST:PORT);"
        " a server with TLS from the start is reached by pop3s://"
    )
    failure = TlsFailure(code, cause, remedy=remedy, temporary=temporary)
    return NotEncrypted(failure, "upstream")
