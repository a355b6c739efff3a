"""In which ways a server may understand a secret: in each of them it may come back (P04).

A client sends a line; what of it is the password, the server decides. It passes over blanks, ends a
text at a NUL or at a bare CR, takes quotes away, and one that meets `PASS:x` may take `x`. Whatever
may be left by that has to be looked for, besides what was sent.
"""

from __future__ import annotations

import re

from popproxy.privacy.sasl import decode

_PASSED_OVER = bytes(range(0x21))
"""Control characters and the blank."""

_ENDS = re.compile(rb"[\x00\r]")
_QUOTED = re.compile(rb"\"(.*)\"|'(.*)'|<(.*)>", re.DOTALL)
_BLANKS = re.compile(rb"[ \t]+")
_GLUED_PASS = re.compile(rb"[^A-Za-z]*pass", re.IGNORECASE)

# What may stand between PASS and a password that is glued to it: all but letters and digits, and
# the blanks of Unicode that are typed by accident.
_SEPARATORS = re.compile(
    rb"(?:[^A-Za-z0-9\x80-\xff]|\xc2?\xa0|\xe2\x80[\x80-\x8f\xa8-\xaf]|\xe3\x80\x80|\xef\xbb\xbf)+"
)
_CREDENTIALS = re.compile(rb"[\x00\x01:]")


def readings(secret: bytes) -> tuple[bytes, ...]:
    """Give a secret as it was sent and as a server may understand it.

    Args:
        secret: What stands where a secret belongs, to the end of its line.
    """
    found = [secret, secret.strip(b" \t"), secret.strip(_PASSED_OVER)]
    if _ENDS.search(secret):
        found.append(_ENDS.split(secret, maxsplit=1)[0].strip(_PASSED_OVER))
    if quoted := _QUOTED.fullmatch(found[-1]):
        found.append(quoted[quoted.lastindex or 0])
    return tuple(dict.fromkeys(found))


def of_arguments(arguments: bytes) -> tuple[bytes, ...]:
    """Give the same of arguments that may hold a secret, alone or behind other words.

    Args:
        arguments: What stands behind a keyword.
    """
    *others, last = _BLANKS.split(arguments.strip(b" \t"))
    return (*readings(arguments), *(readings(last) if others else ()))


def of_hidden_line(line: bytes) -> tuple[bytes, ...]:
    """Give the same of a line that is hidden as a whole.

    Args:
        line: The line without its line end.
    """
    found = [*readings(line)]
    _keyword, *rest = _BLANKS.split(line.strip(b" \t"), maxsplit=1)
    for arguments in rest:
        found += of_arguments(arguments)
    if glued := _GLUED_PASS.match(line):  # `PASSsecret`, `PASS:secret`
        secret = line[glued.end() :]
        found.append(secret)
        if separators := _SEPARATORS.match(secret):
            found += readings(secret[separators.end() :])
    # A SASL response that nobody asked for, or that of another protocol.
    decoded = decode(line.split()[-1]) if line.strip() else None
    if decoded and _CREDENTIALS.search(decoded):
        found += [decoded, _CREDENTIALS.split(decoded)[-1]]
    return tuple(dict.fromkeys(found))
