"""Who may log in to the embedded server, and which maildrop is theirs."""

from __future__ import annotations

import binascii
import hashlib
import hmac
from collections.abc import Callable, Mapping

from popproxy.peers.maildrop import Maildrop

MaildropFor = Callable[[str], Maildrop | None]
"""Gives a user's maildrop by the user's name, or None if there is no such user."""


class Accounts:
    """The users, their passwords and their maildrops.

    Args:
        maildrop_for: Gives a user's maildrop. It is called only for users who have shown the right
            password.
        passwords: Password by user name. None if any password of any user is to be accepted, APOP
            digests too: `notice` says so, and who starts a server has to show it.
    """

    def __init__(
        self, maildrop_for: MaildropFor, passwords: Mapping[str, str] | None = None
    ) -> None:
        self._maildrop_for = maildrop_for
        self._passwords = None if passwords is None else dict(passwords)

    def __repr__(self) -> str:
        """Name the type only: it holds passwords (P13)."""
        return "<Accounts>"

    @property
    def notice(self) -> str:
        """A sentence for the start of the server: who is let in."""
        if self._passwords is None:
            return "Any user name with any password is let in."
        count = len(self._passwords)
        return f"{count} user{'s' * (count != 1)} may log in, with a password."

    def by_password(self, user: bytes, password: bytes) -> Maildrop | None:
        """Check a password, as PASS and AUTH PLAIN bring it.

        Args:
            user: The user's name, as sent.
            password: The password, as sent.

        Returns:
            The user's maildrop, or None if user or password are wrong.
        """
        name = _name(user)
        if name is None:
            return None
        if self._passwords is not None:
            known = self._passwords.get(name)
            # The comparison takes place for unknown users too: time does not tell who exists.
            right = hmac.compare_digest(_octets(known), password)
            if known is None or not right:
                return None
        return self._maildrop_for(name)

    def by_digest(self, user: bytes, digest: bytes, timestamp: bytes) -> Maildrop | None:
        """Check an APOP digest (RFC 1939, section 7).

        Args:
            user: The user's name, as sent.
            digest: 32 hexadecimal digits, as sent.
            timestamp: The greeting's, angle brackets included.

        Returns:
            The user's maildrop, or None if user or digest are wrong.
        """
        name = _name(user)
        try:
            octets = binascii.a2b_hex(digest)
        except binascii.Error:
            return None
        if name is None or len(octets) != 16:
            return None
        if self._passwords is not None:
            known = self._passwords.get(name)
            # MD5 is what APOP is made of.
            right = hashlib.md5(
                timestamp + (known or "").encode(errors="surrogateescape"), usedforsecurity=False
            )
            if not hmac.compare_digest(right.digest(), octets) or known is None:
                return None
        return self._maildrop_for(name)


def _name(user: bytes) -> str | None:
    try:
        return user.decode() or None
    except UnicodeDecodeError:
        return None


def _octets(password: str | None) -> bytes:
    return (password or "").encode(errors="surrogateescape")  # as the command line gave it


def split_plain(message: bytes) -> tuple[bytes, bytes] | None:
    """Take a PLAIN message apart (RFC 4616, section 2).

    Args:
        message: The client's response, decoded from base64.

    Returns:
        User and password. None if it is malformed, or asks to act for somebody else.
    """
    parts = message.split(b"\0")
    if len(parts) != 3:
        return None
    other, user, password = parts
    return (user, password) if other in (b"", user) and password else None
