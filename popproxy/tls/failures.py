"""Why TLS failed, in words that a person can act upon.

OpenSSL's words name neither the certificate nor the remedy. `explain` looks at the error and at
what the other side presented, and says which certificate, which day, which name. Nothing of a
peer's stands in these words that was not checked (`popproxy.tls.certificates`).
"""

from __future__ import annotations

import errno
import os
import ssl
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from popproxy.records import LegName
from popproxy.tls.names import canonical

if TYPE_CHECKING:
    from popproxy.tls.certificates import Told

CAUSE = 300
"""Characters of a cause at most: it has to fit into a line of POP3."""
_SHOWN_NAMES = 5
_SHOWN = 100
"""Characters of a name, or of a list of names, that are shown of those a cause holds."""
_ALERT = "_ALERT_"
_ALERTS = {
    "CLOSE_NOTIFY": 0,
    "UNEXPECTED_MESSAGE": 10,
    "BAD_RECORD_MAC": 20,
    "DECRYPTION_FAILED": 21,
    "RECORD_OVERFLOW": 22,
    "DECOMPRESSION_FAILURE": 30,
    "HANDSHAKE_FAILURE": 40,
    "NO_CERTIFICATE": 41,
    "BAD_CERTIFICATE": 42,
    "UNSUPPORTED_CERTIFICATE": 43,
    "CERTIFICATE_REVOKED": 44,
    "CERTIFICATE_EXPIRED": 45,
    "CERTIFICATE_UNKNOWN": 46,
    "ILLEGAL_PARAMETER": 47,
    "UNKNOWN_CA": 48,
    "ACCESS_DENIED": 49,
    "DECODE_ERROR": 50,
    "DECRYPT_ERROR": 51,
    "PROTOCOL_VERSION": 70,
    "INSUFFICIENT_SECURITY": 71,
    "INTERNAL_ERROR": 80,
    "INAPPROPRIATE_FALLBACK": 86,
    "USER_CANCELLED": 90,
    "NO_RENEGOTIATION": 100,
    "MISSING_EXTENSION": 109,
    "UNSUPPORTED_EXTENSION": 110,
    "UNRECOGNIZED_NAME": 112,
    "CERTIFICATE_REQUIRED": 116,
    "NO_APPLICATION_PROTOCOL": 120,
}
"""The alerts of TLS by OpenSSL's names (RFC 8446, section 6, and those before it)."""
_DISTRUST = frozenset({42, 43, 44, 45, 46, 48})
_WANTS_CERTIFICATE = frozenset({"CERTIFICATE_REQUIRED", "NO_CERTIFICATE"})
_NOT_TLS = frozenset(
    {
        "WRONG_VERSION_NUMBER",
        "HTTP_REQUEST",
        "HTTPS_PROXY_REQUEST",
        "UNKNOWN_PROTOCOL",
        "PACKET_LENGTH_TOO_LONG",
        "RECORD_LAYER_FAILURE",
    }
)
_OLD = frozenset({"UNSUPPORTED_PROTOCOL", "VERSION_TOO_LOW", "NO_PROTOCOLS_AVAILABLE"})
_CIPHERS = frozenset({"NO_SHARED_CIPHER", "NO_SUITABLE_SIGNATURE_ALGORITHM", "DH_KEY_TOO_SMALL"})
_TRUST = "`popproxy help trust` says how it comes to trust popproxy; `popproxy ca export` gives the"
_OTHERWISE = "or accept this one certificate with --pin sha256:"


class TlsSetupError(Exception):
    """A file or an option of TLS cannot be used; the message says what, where and what to do."""


class TlsFailure(Exception):  # noqa: N818 - it says what happened; the peer is often right
    """A handshake, or a connection under TLS, failed.

    Attributes:
        code: A short stable name, as `expired` or `wrong-name`.
        cause: One clause for the log and for the client: printable ASCII, at most `CAUSE`
            characters.
        remedy: What to do, or empty.
        temporary: Whether a later try may work by itself (`[SYS/TEMP]`, RFC 3206).
        alert: The alert that was received, in words, or None.
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
        self.code = code
        self.cause = cause[:CAUSE]
        super().__init__(self.cause)
        self.remedy = remedy
        self.temporary = temporary
        self.alert = alert
        self.alert_from = alert_from


def explain(error: Exception, tls: ssl.SSLSocket, *, leg: LegName, name: str = "") -> TlsFailure:
    """Say why TLS failed on a connection.

    Args:
        error: What OpenSSL or the system reported.
        tls: The connection.
        leg: Which of a session's legs it is.
        name: The name that the server was to prove.
    """
    peer = "the client" if leg == "client" else "the server"
    if trouble := getattr(tls, "trouble", None):
        return TlsFailure("own-trouble", str(trouble), temporary=True)
    if isinstance(error, ssl.SSLCertVerificationError):
        return _not_verified(error, tls, name)
    reason = _reason(error) if isinstance(error, ssl.SSLError) else ""
    if reason == "TLSV1_UNRECOGNIZED_NAME":  # the one alert in use that OpenSSL names otherwise
        return _alerted("UNRECOGNIZED_NAME", leg)
    if _ALERT in reason:
        return _alerted(reason.partition(_ALERT)[2], leg)
    if isinstance(error, ssl.SSLEOFError) or reason == "UNEXPECTED_EOF_WHILE_READING":
        return _closed(f"{peer} closed the connection during the TLS handshake", leg)
    if not isinstance(error, ssl.SSLError):
        number = error.errno if isinstance(error, OSError) else None
        words = os.strerror(number).lower() if number else "connection lost"
        if number in (errno.ECONNRESET, errno.EPIPE):
            return _closed(f"{peer} reset the connection during the TLS handshake", leg)
        return TlsFailure("closed", f"the connection to {peer[4:]} failed: {words}", temporary=True)
    if reason in _NOT_TLS:
        return _not_tls(leg)
    if reason in _OLD:
        option = "--client-tls-minimum" if leg == "client" else "--upstream-tls-minimum"
        return TlsFailure(
            "protocol-version",
            f"{peer} speaks no version of TLS that is allowed here",
            remedy=f"update it, or allow older versions with {option}",
        )
    if reason in _CIPHERS:
        return _no_shared_cipher(peer, leg)
    words = reason.replace("_", " ").lower() or "no reason given"
    return TlsFailure("other", f"TLS with {peer} failed: {words}")


def _reason(error: ssl.SSLError) -> str:
    """Give OpenSSL's name of an error, as Python does for those that it knows.

    It does not know them all: of the alert 120, for one, it has OpenSSL's words only, as in
    "[SSL] tlsv1 alert no application protocol (_ssl.c:1006)".
    """
    if reason := getattr(error, "reason", None):
        return str(reason)
    words = str(error.args[-1] if error.args else "").partition("] ")[2].partition(" (")[0]
    return words.upper().replace(" ", "_")


def wrong_name(told: Told, name: str) -> TlsFailure:
    """Say that a certificate is for other names.

    Args:
        told: The certificate.
        name: The name that it should be for.
    """
    names = [_shortened(each) for each in told.names[:_SHOWN_NAMES]]
    while len(names) > 1 and len(", ".join(names)) > _SHOWN:
        names.pop()
    shown = ", ".join(names) + (", ..." if len(told.names) > len(names) else "")
    wanted = _shortened(canonical(name))
    return TlsFailure(
        "wrong-name",
        f"the server presented a certificate for {shown or 'no name'}, not for {wanted}",
        remedy=(
            "connect to the server by a name of its certificate, or say with --server-name which"
            f" one is right; {_OTHERWISE}{told.sha256}"
        ),
    )


def _shortened(name: str) -> str:
    """Leave out the start of a long name, so that a cause has room for both of its names."""
    return name if len(name) <= _SHOWN else f"...{name[3 - _SHOWN :]}"


def wrong_pin(told: Told, pins: Iterable[str]) -> TlsFailure:
    """Say that a certificate is not a pinned one; both digests are named (P32).

    Args:
        told: The certificate.
        pins: The digests that are accepted.
    """
    wanted = sorted(pins)
    more = f" (or {len(wanted) - 1} more)" if len(wanted) > 1 else ""
    return TlsFailure(
        "pin-mismatch",
        f"the server's certificate is sha256:{told.sha256}, but pinned is sha256:{wanted[0]}{more}",
        remedy=(
            "find out from its administrator whether the server has a new certificate; then pin"
            f" that: --pin sha256:{told.sha256}"
        ),
    )


def no_certificate() -> TlsFailure:
    """Say that a server showed no certificate that can be read."""
    return TlsFailure("other", "the server presented no certificate that can be read")


def _not_verified(error: ssl.SSLCertVerificationError, tls: ssl.SSLSocket, name: str) -> TlsFailure:
    from popproxy.tls.certificates import peer

    told = peer(tls)
    words = str(error.verify_message).lower().rstrip(".")
    if told is None:
        return TlsFailure("other", f"the server's certificate cannot be verified: {words}")
    pin = f"{_OTHERWISE}{told.sha256}"
    code = error.verify_code
    if code == 10:
        # It may be an issuer's that has expired; then the server's own day is in the future.
        day = f"expired on {told.not_after:%Y-%m-%d}"
        return TlsFailure(
            "expired",
            f"the server's certificate {day}" if _past(told) else "an issuer's certificate expired",
            remedy=f"the server needs a new certificate, or this machine the right time; {pin}",
        )
    if code == 9:
        return TlsFailure(
            "not-yet-valid",
            f"the server's certificate is not valid before {told.not_before:%Y-%m-%d}",
            remedy=f"set the clock of this machine, or wait; {pin}",
        )
    if code in (62, 64):
        return wrong_name(told, name)
    if code == 18 or (code in (20, 21) and told.self_signed):
        return TlsFailure(
            "self-signed",
            "the server's certificate is self-signed: nobody vouches for it",
            remedy=f"trust the certificate itself with --upstream-ca FILE, {pin}",
        )
    if code in (2, 19, 20, 21):
        return TlsFailure(
            "unknown-issuer",
            f"the server's certificate was issued by {told.issuer}, which is not trusted here",
            remedy=f"trust the issuer's certificate with --upstream-ca FILE, {pin}",
        )
    if code == 23:
        return TlsFailure("revoked", "the server's certificate was revoked by its issuer")
    return TlsFailure("other", f"the server's certificate cannot be verified: {words}", remedy=pin)


def _past(told: Told) -> bool:
    return told.not_after <= datetime.now(UTC)


def _alerted(name: str, leg: LegName) -> TlsFailure:
    """Say what an alert of the other side means."""
    number = _ALERTS.get(name)
    words = name.replace("_", " ").lower().replace(" ca", " CA")
    alert = f"{words} ({number})" if number is not None else words
    peer = "the client" if leg == "client" else "the server"

    def failure(code: str, cause: str, remedy: str = "") -> TlsFailure:
        return TlsFailure(code, cause, remedy=remedy, alert=alert, alert_from=peer[4:])

    if leg == "client" and number in _DISTRUST:
        return failure(
            "client-distrusts-ca",
            f"the client does not trust popproxy's certificate: {alert}",
            f"{_TRUST} certificate to import",
        )
    if leg == "upstream" and name in _WANTS_CERTIFICATE:
        return failure(
            "client-certificate-wanted",
            "the server wants a client certificate",
            "give it one with --client-certificate FILE (and --client-key FILE)",
        )
    if leg == "upstream" and number in _DISTRUST:
        return failure(
            "client-certificate-wanted",
            f"the server does not accept our client certificate, or wants one: {alert}",
            "give it the right one with --client-certificate FILE (and --client-key FILE)",
        )
    if leg == "upstream" and name == "UNRECOGNIZED_NAME":
        return failure(
            "unknown-server-name",
            "the server does not know the name that it was asked for",
            "say with --sni which name it knows, or ask for none with --sni none",
        )
    option = "--client-tls-minimum" if leg == "client" else "--upstream-tls-minimum"
    if name == "PROTOCOL_VERSION":
        return failure(
            "protocol-version",
            f"{peer} and popproxy have no version of TLS in common",
            f"update the older one, or allow older versions with {option}",
        )
    if name in ("HANDSHAKE_FAILURE", "INSUFFICIENT_SECURITY"):
        # Servers that want a client certificate say no more than this in TLS 1.2.
        remedy = f"allow older versions and ciphers with {option}"
        if leg == "upstream":
            remedy += ", or give it a client certificate with --client-certificate, if it wants one"
        return failure("no-shared-cipher", f"{peer} refused all that TLS here offers", remedy)
    return failure("alert", f"{peer} ended TLS with the alert {alert}")


def _closed(cause: str, leg: LegName) -> TlsFailure:
    remedy = ""
    if leg == "client":
        remedy = f"a client that distrusts popproxy may close without a word; {_TRUST} certificate"
    return TlsFailure("closed", cause, remedy=remedy, temporary=leg == "upstream")


def _not_tls(leg: LegName) -> TlsFailure:
    if leg == "client":
        return TlsFailure(
            "not-tls",
            "the client sent something that is not TLS",
            remedy="set SSL/TLS in the client for this port, or listen with pop3://",
        )
    return TlsFailure(
        "not-tls",
        "the server does not speak TLS on this port",
        remedy="use pop3:// or pop3+stls:// for this port, or the server's port for TLS, often 995",
    )


def _no_shared_cipher(peer: str, leg: LegName) -> TlsFailure:
    option = "--client-tls-minimum" if leg == "client" else "--upstream-tls-minimum"
    return TlsFailure(
        "no-shared-cipher",
        f"{peer} and popproxy have no cipher in common",
        remedy=f"update the older one, or allow older versions and ciphers with {option}",
    )
