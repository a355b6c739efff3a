"""What a SASL response holds: secrets to learn, and the user's name (P04, P09).

Every line of an exchange is hidden, whatever its mechanism; nothing here decides on that. This
module takes a hidden line apart so that its pieces are known if they turn up elsewhere: a password
that was sent in base64 inside PLAIN may come back in clear in an error message.

What is taken for a piece errs on the side of hiding. Only what is known to be harmless is left out:
the names and public attributes that the mechanisms' RFCs define.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import NamedTuple

_BASE64 = re.compile(rb"([A-Za-z0-9+/_-]+)={0,3}")
_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_NO_SECRET = frozenset({b"", b"*", b"="})

# An attribute of XOAUTH2, OAUTHBEARER (RFC 7628), SCRAM (RFC 5802) or DIGEST-MD5 (RFC 2831).
_ATTRIBUTE = re.compile(rb'\s*([A-Za-z-]{1,32})=("?)(.*?)\2\s*', re.DOTALL)
_PUBLIC_ATTRIBUTES = frozenset(
    b"user a n host port path method realm digest-uri charset qop nc algorithm maxbuf cipher"
    b" authzid username".split()
)
_SCHEME = re.compile(rb"(?:Bearer|MAC|Basic)[ \t]+", re.IGNORECASE)
_GS2_HEADER = re.compile(rb"(?:[ny]|p=[A-Za-z0-9.-]+),(?:a=([^,]*))?,", re.DOTALL)
_SCRAM_USER = re.compile(rb"n=([^,]+),r=[^,]+", re.DOTALL)
_CRAM = re.compile(rb"(\S+) ([0-9A-Fa-f]{16,128})")
_DIGEST_USER = re.compile(rb'(?:^|,)[ \t]*username="((?:[^"\\]|\\.)+)"', re.DOTALL | re.IGNORECASE)
_XOAUTH2_USER = re.compile(rb"user=([^\x01]+)\x01auth=")
_PLAIN = re.compile(rb"[^\x00]*\x00([^\x00]+)\x00[^\x00]*")
_SEPARATORS = re.compile(rb"[\x00\x01]")

_USER_PROMPT = re.compile(
    rb"\s*(?:(?:please|enter|your|the)\s+)*user(?:[ _-]?(?:name|id))?\s*[:?]?\s*\x00?",
    re.IGNORECASE,
)
"""What LOGIN asks with for the name: `Username:` and `User Name\\0` (draft-murchison-sasl-login)
and the like. To any other prompt the answer may be a password."""

_MAX_PARTS = 12
"""Pieces that a response is split into. One with more is binary, as a Kerberos ticket or NTLM's,
and means something only as a whole."""


class ResponseParts(NamedTuple):
    """What a SASL response holds.

    Attributes:
        secrets: What has to be learned.
        user: The name of the user who logs in, if the mechanism's form gives one.
    """

    secrets: list[bytes]
    user: bytes | None = None


def decode(line: bytes) -> bytes | None:
    """Undo base64, with padding or without, in either alphabet.

    Args:
        line: A line without its line end.

    Returns:
        What was encoded, or None if it is not base64.
    """
    match = _BASE64.fullmatch(line)
    if match is None:
        return None
    letters = match[1].translate(_URL_SAFE)
    letters = letters[: len(letters) - (len(letters) % 4 == 1)]  # 6 bits alone are no octet
    try:
        return base64.b64decode(letters + b"=" * (-len(letters) % 4))
    except binascii.Error:  # pragma: no cover - the alphabet and the length have been seen to
        return None


def take_apart(mechanism: str, line: bytes, prompt: bytes | None = None) -> ResponseParts:
    """Take a client's line of a SASL exchange apart.

    Args:
        mechanism: The mechanism's name, in upper case.
        line: The line without its line end, or AUTH's initial response.
        prompt: For the first line that AUTH did not bring with it: the challenge before, decoded.
            None for every other line.
    """
    secrets = [line]
    user: bytes | None = None
    for token in line.split():
        if token in _NO_SECRET:
            continue
        secrets.append(token)
        decoded = decode(token)
        if not decoded:
            continue
        if mechanism == "LOGIN" and _asks_for_user(prompt):
            # The password comes with the next line, so that the name may be told.
            return ResponseParts([], decoded)
        user = _user(mechanism, decoded)
        secrets += [part for part in _parts(mechanism, decoded) if part != user]
    return ResponseParts(secrets, user)


def _asks_for_user(prompt: bytes | None) -> bool:
    return prompt is not None and _USER_PROMPT.fullmatch(prompt) is not None


def _user(mechanism: str, decoded: bytes) -> bytes | None:
    """Find the user's name where the mechanism has it (P09)."""
    match: re.Match[bytes] | None = None
    if mechanism == "PLAIN":  # RFC 4616, section 2
        match = _PLAIN.fullmatch(decoded)
    elif mechanism == "XOAUTH2":
        match = _XOAUTH2_USER.match(decoded)
    elif mechanism == "CRAM-MD5":  # RFC 2195, section 2
        match = _CRAM.fullmatch(decoded)
    elif mechanism == "DIGEST-MD5":  # RFC 2831, section 2.1.2
        found = _DIGEST_USER.search(decoded)
        return re.sub(rb"\\(.)", rb"\1", found[1], flags=re.DOTALL) if found else None
    elif header := _GS2_HEADER.match(decoded):
        if mechanism == "OAUTHBEARER":  # RFC 7628, section 3.1
            return header[1]
        if mechanism.startswith("SCRAM-"):  # RFC 5802, section 7
            match = _SCRAM_USER.match(decoded, header.end())
    return match[1] if match else None


def _parts(mechanism: str, decoded: bytes) -> list[bytes]:
    """Split what was encoded into the pieces that mean something by themselves."""
    if mechanism == "PLAIN" and _PLAIN.fullmatch(decoded):
        return [decoded, decoded.rpartition(b"\x00")[2]]
    if cram := _CRAM.fullmatch(decoded):
        return [decoded, cram[2]]
    header = _GS2_HEADER.match(decoded)
    attributes = decoded[header.end() :] if header else decoded
    parts = [part for part in _SEPARATORS.split(attributes) if part]
    if parts == [attributes] and (header or _ATTRIBUTE.match(decoded)):
        parts = attributes.split(b",")  # SCRAM, DIGEST-MD5
    found = [decoded]
    if len(parts) > _MAX_PARTS:
        return found
    for part in parts:
        attribute = _ATTRIBUTE.fullmatch(part)
        if attribute is None:
            found.append(part)
        elif attribute[1].lower() not in _PUBLIC_ATTRIBUTES:
            found.append(_SCHEME.sub(b"", attribute[3], 1))
    return found
