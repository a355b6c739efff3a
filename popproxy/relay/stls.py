"""STLS in the middle of a session: from the response to it to TLS on the legs (RFC 2595).

The pumps have stopped; nobody else uses the legs. What must hold (P29): nothing that was sent in
the clear is taken for something that was said inside TLS. So before anything is answered, all
places are looked at in which octets may wait that were sent too early: what the parser holds, what
the pumps read behind STLS, and what the kernel has of either leg. If there are any, the session
ends. The server's leg is first: if TLS fails there, the client can be told why, in the clear,
instead of a +OK that would leave it no way back.
"""

from __future__ import annotations

import trio

from popproxy.pop3 import FindingCode, Side
from popproxy.records import TlsPart
from popproxy.relay.course import Course
from popproxy.relay.encryption import Encryption, NotEncrypted
from popproxy.relay.legs import LegLost
from popproxy.relay.observer import Observer
from popproxy.relay.opening import HANDSHAKE
from popproxy.relay.service import permanent_failure, temporary_failure
from popproxy.relay.stops import Accepted


async def begin_tls(
    course: Course,
    observer: Observer,
    encryption: Encryption,
    accepted: Accepted,
    *,
    required: bool,
) -> bool:
    """Put TLS on the client's leg, and on the server's if it was the server that accepted.

    Args:
        course: The session.
        observer: Its observer.
        encryption: Puts TLS on legs.
        accepted: The STLS.
        required: Whether the client must not go on without.

    Returns:
        Whether the session goes on.
    """
    early = accepted.injected or course.client.peek()
    if not accepted.own:
        # The server speaks next when it has the client's hello, which is still to be sent.
        early = early or observer.injected or course.leg(Side.SERVER).peek()
    if early:
        return _end_injected(course, observer)
    if not accepted.own and not await _with_server(course, observer, encryption, accepted):
        return False
    if course.client.peek():
        return _end_injected(course, observer)
    if accepted.own:
        observer.own_answer(accepted.line, course.clock())
    try:
        await course.client.write(accepted.line)
    except LegLost as loss:
        course.note_loss(Side.CLIENT, loss)
        course.abort()
        return False
    return await _with_client(course, observer, encryption, required=required)


def _end_injected(course: Course, observer: Observer) -> bool:
    observer.found(FindingCode.INJECTED_BEHIND_STLS, course.clock())
    course.end("injected-behind-stls", "something was sent in the clear between STLS and TLS")
    return False


async def _with_server(
    course: Course, observer: Observer, encryption: Encryption, accepted: Accepted
) -> bool:
    try:
        encrypted = await encryption.with_server(course.leg(Side.SERVER))
    except NotEncrypted as failure:
        observer.tls(failure.part, course.clock(), became="failed")
        failed = temporary_failure if failure.temporary else permanent_failure
        line = failed(f"no TLS with the server: {failure.cause}")
        observer.rewritten(
            Side.SERVER,
            "tls-failed",
            was=accepted.line,
            now=line,
            seq=accepted.seq,
            at=course.clock(),
        )
        course.reason = course.reason or ("tls-failed", failure.cause)
        await course.farewell(line)
        return False
    course.take_server(encrypted)
    observer.tls(encrypted.part, course.clock(), became="started")
    return True


async def _with_client(
    course: Course, observer: Observer, encryption: Encryption, *, required: bool
) -> bool:
    """Wait for the handshake that the client has to begin now."""
    seconds = course.service.timeouts.handshake
    first = None
    with trio.move_on_after(seconds):
        await course.client.readable()
        first = course.client.peek()
    if first is None:
        cause = f"the client began no TLS handshake within {seconds:g} seconds after STLS"
        part = TlsPart(leg="client", code="timeout", cause=cause)
        observer.tls(part, course.clock(), became="failed")
        course.end("tls-failed", cause)
        return False
    if first == HANDSHAKE:
        try:
            encrypted = await encryption.with_client(course.client)
        except NotEncrypted as failure:
            observer.tls(failure.part, course.clock(), became="failed")
            course.end("tls-failed", failure.cause)
            return False
        course.take_client(encrypted)
        observer.tls(encrypted.part, course.clock(), became="started")
        observer.stls_ended(course.clock(), under_tls=True)
        return True
    if first:
        observer.stls_ended(course.clock(), under_tls=False)
        if required:
            line = permanent_failure("this port wants TLS behind STLS")
            course.reason = course.reason or ("stls-required", "no handshake followed STLS")
            await course.farewell(line)
            return False
    return True
