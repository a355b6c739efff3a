"""Telling the server who the client is: otherwise it knows popproxy's address alone.

A PROXY header is the first thing that is sent, before TLS. XCLIENT is a command: it is sent when
the server has greeted, under TLS if that begins before the client sees the greeting, as Dovecot
does it with servers of its own. The greeting is held until XCLIENT is answered, and nothing of the
client is read before: so no command of the client can be taken for it, nor its answer for another,
and if the server fails at it, the client can be told so in the greeting's place.
"""

from __future__ import annotations

from typing import NamedTuple

import trio

from popproxy.pop3 import Side
from popproxy.relay import diagnostics
from popproxy.relay.arrivals import Arrival
from popproxy.relay.course import Course
from popproxy.relay.legs import Leg, LegLost
from popproxy.relay.proxy_header import write_header, write_xclient
from popproxy.relay.rules import ADDED
from popproxy.relay.service import temporary_failure
from popproxy.relay.settings import Announce

LONGEST = 8 * 1024
"""Octets of a line of the server that is read before the client sees any."""

_refusals = diagnostics.Limiter(interval=10.0)


class Added(NamedTuple):
    """Something that the server was told of popproxy's own accord, or its answer to that.

    Attributes:
        side: Whose line it is.
        rule: Why, as records name it.
        line: The line.
    """

    side: Side
    rule: str
    line: bytes


class NotALine(Exception):  # noqa: N818 - it says what came
    """A server that is to say one line said something else.

    Attributes:
        code: `closed`, or `not-pop3`.
    """

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


async def one_line(server: Leg) -> bytes:
    """Read one line of a server, which sends nothing behind it before it is answered.

    Raises:
        NotALine: It sends more than a line, less than one, or too much.
        LegLost: The connection is gone.
    """
    line = b""
    while not line.endswith(b"\n"):
        data = await server.read()
        line += data
        if not data:
            raise NotALine("closed")
        if len(line) > LONGEST or b"\n" in line[:-1]:
            raise NotALine("not-pop3")
    return line


def announcement(how: Announce, arrival: Arrival, session_id: str) -> bytes:
    """Make what tells the server who the client is.

    Args:
        how: The route's way; not `none`.
        arrival: The client.
        session_id: The session's name, for the server's log.
    """
    if how == "v1" or how == "v2":
        return write_header(how, arrival.client, arrival.destination or arrival.listener)
    return write_xclient(arrival.client, session_id)


async def send_header(course: Course, header: bytes) -> Added:
    """Send a PROXY header, the first of all.

    Raises:
        LegLost: The connection is gone.
    """
    await course.leg(Side.SERVER).write(header)
    return Added(Side.CLIENT, ADDED[course.service.manner.announce], header)


class Told(NamedTuple):
    """What came of XCLIENT.

    Attributes:
        greeting: What the server said first.
        added: What was sent, and the answer; nothing if the server refuses the session anyway.
        refused: Whether it refused the command.
    """

    greeting: bytes
    added: tuple[Added, ...] = ()
    refused: bool = False


class NotTold(Exception):  # noqa: N818 - it says what the server is
    """The server failed over XCLIENT.

    Attributes:
        cause: How, in words that client and log may see.
    """

    def __init__(self, cause: str) -> None:
        super().__init__(cause)
        self.cause = cause

    @property
    def line(self) -> bytes:
        """What the client is told."""
        return temporary_failure(self.cause)


async def send_xclient(course: Course, command: bytes, greeting: bytes) -> Told:
    """Use XCLIENT with a server that speaks as it will go on to.

    Args:
        course: The session.
        command: The command, line end included.
        greeting: The server's, if it was read already.

    Raises:
        NotTold: The server does not answer.
    """
    server = course.leg(Side.SERVER)
    seconds = course.service.timeouts.handshake
    try:
        with trio.fail_after(seconds):
            greeting = greeting or await one_line(server)
            if not greeting.startswith(b"+OK"):
                return Told(greeting)
            await server.write(command)
            answer = await one_line(server)
    except trio.TooSlowError:
        raise NotTold(f"the server did not answer XCLIENT within {seconds:g} seconds") from None
    except LegLost as loss:
        raise NotTold(f"the connection is gone: {loss.cause}") from None
    except NotALine as odd:
        how = "closed before" if odd.code == "closed" else "did not answer as POP3 servers do to"
        raise NotTold(f"the server {how} XCLIENT") from None
    rule = ADDED["xclient"]
    refused = not answer.startswith(b"+OK")
    if refused and _refusals.passes(diagnostics.now()):
        diagnostics.warn(
            "xclient-refused",
            route=course.service.route.name,
            remedy="name popproxy's address in the server's login_trusted_networks",
            unreported=_refusals.suppressed(),
        )
    added = Added(Side.CLIENT, rule, command), Added(Side.SERVER, rule, answer)
    return Told(greeting, added, refused)
