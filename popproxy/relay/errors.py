"""What the relay refuses to start with, in words for the person who started it."""

from __future__ import annotations


class RelayError(Exception):
    """Something about a listener, a route or an upstream; the message is for people."""


class CannotListen(RelayError):  # noqa: N818 - it says what happened; the base class says Error
    """An address cannot be listened on; the message says what to do."""


class RouteError(RelayError):
    """A route cannot work as it is configured; the message says what to do."""
