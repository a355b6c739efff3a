"""Why TLS failed, in words that a person can act upon."""

from __future__ import annotations


class TlsSetupError(Exception):
    """A file or an option of TLS cannot be used; the message says what, where and what to do."""


class TlsFailure(Exception):  # noqa: N818 - it says what happened; the peer is often right
    """A handshake, or a connection under TLS, failed.

    Attributes:
        code: A short stable name, as `expired` or `wrong-name`.
        cause: One clause for the log and for the client: printable ASCII, at most 300 characters.
        remedy: What to do, or empty.
        temporary: Whether a later try may work by itself (`[SYS/TEMP]`, RFC 3206).
        alert: The alert that was sent, in words, or None.
        alert_from: Who sent it.
    """

    def __init__(
        self,
        code: str,
        cause: str,
        *,
        remedy: str = "",
        temporary: bool = False,
        alert: str | None = None,
        alert_from: str | None = None,
    ) -> None:
        super().__init__(cause)
        self.code = code
        self.cause = cause
        self.remedy = remedy
        self.temporary = temporary
        self.alert = alert
        self.alert_from = alert_from
