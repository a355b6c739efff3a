"""Logging in to a replay: any password will do, since the recorded one was masked.

A SASL exchange is held as its mechanism has it (RFC 4616, RFC 2195, RFC 7628, …): the recorded
challenges are masked, and would mean nothing to another client anyway. Mechanisms whose last
message proves that the server knows the password (SCRAM, DIGEST-MD5) cannot be held, nor those that
need a ticket or a domain.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass

from popproxy.records import MASK
from popproxy.tools.replay_lists import MECHANISMS
from popproxy.tools.replay_plan import Step

LOGIN = frozenset({"USER", "PASS", "APOP", "AUTH", "RPOP"})
"""Keywords of commands that log in, or begin to."""
CHALLENGE = b"<20111029.223746@popproxy.invalid>"
"""What is to be answered in CRAM-MD5; it needs not be fresh, as no answer to it is verified."""
_PROMPTS: dict[bytes, tuple[bytes, ...]] = {
    b"LOGIN": (b"Username:", b"Password:"),
    b"CRAM-MD5": (CHALLENGE,),
}
"""Challenges; mechanisms that are not here have a single empty one."""
_NO_INITIAL = frozenset({b"CRAM-MD5"})
_TOKENS = frozenset({b"XOAUTH2", b"OAUTHBEARER"})
_REFUSED_TOKEN = b'{"status":"invalid_token","schemes":"bearer"}'


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """A SASL exchange that is to be held.

    Attributes:
        mechanism: Its mechanism.
        challenges: Lines to send, each to be answered by one of the client's, without line ends.
        step: The recorded AUTH that it stands for, if there is one.
    """

    mechanism: str
    challenges: tuple[bytes, ...]
    step: Step | None = None


def refuses_outright(step: Step) -> bool:
    """Say whether a recorded AUTH was refused, or not answered, before anything was exchanged."""
    asked = MASK not in step.arguments.split()[1:]
    return not step.ok and not step.challenges and asked


def begin(arguments: bytes, step: Step | None) -> Exchange | None:
    """Begin an exchange.

    Args:
        arguments: AUTH's arguments, as the client sent them.
        step: The recorded AUTH that it stands for, if there is one.

    Returns:
        What is to be held; None if the mechanism cannot be.
    """
    words = arguments.split()
    name = words[0].upper() if words else b""
    if name not in MECHANISMS:
        return None
    prompts = _PROMPTS.get(name, (b"",))
    if len(words) > 1 and name not in _NO_INITIAL:
        prompts = prompts[1:]  # the first one is answered already
    if name in _TOKENS and step is not None and not step.ok and step.challenges:
        prompts = (*prompts, _REFUSED_TOKEN)  # refused as RFC 7628, section 3.2.2, has it
    if step is not None and not step.ok:
        prompts = prompts[: len(step.challenges)]  # the server had heard enough by then
    challenges = tuple(b"+ " + base64.b64encode(prompt) for prompt in prompts)
    return Exchange(mechanism=name.decode("ascii"), challenges=challenges, step=step)
