"""What both legs' contexts share: built by hand, so that nothing but our settings decides.

`ssl.create_default_context` is not used: it obeys the environment variable SSLKEYLOGFILE (P40).
"""

from __future__ import annotations

import ssl
import warnings
from pathlib import Path

from popproxy.tls.settings import Minimum

_VERSIONS = {
    "1.0": ssl.TLSVersion.TLSv1,
    "1.1": ssl.TLSVersion.TLSv1_1,
    "1.2": ssl.TLSVersion.TLSv1_2,
    "1.3": ssl.TLSVersion.TLSv1_3,
}
ALPN = "pop3"
"""The protocol's name in RFC 7301's registry; nobody has to offer it."""


def server_context(
    minimum: Minimum, key_log: Path | None, maximum: Minimum | None = None
) -> ssl.SSLContext:
    """Make a context for the side that is connected to; it has no certificate yet.

    Args:
        minimum: The oldest version of TLS that is spoken.
        key_log: Where to write the keys of each connection, or None.
        maximum: The newest version; None for the newest there is.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    prepare(context, minimum, key_log)
    if maximum is not None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # as in `prepare`
            context.maximum_version = _VERSIONS[maximum]
    return context


def prepare(context: ssl.SSLContext, minimum: Minimum, key_log: Path | None) -> None:
    """Give a context what is the same for both sides.

    Args:
        context: The context.
        minimum: The oldest version of TLS that is spoken.
        key_log: Where to write the keys of each connection, or None.
    """
    with warnings.catch_warnings():
        # Old versions are deprecated, and the user is told so at each start (P39).
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = _VERSIONS[minimum]
    if minimum in ("1.0", "1.1"):
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    if key_log is not None:
        context.keylog_filename = str(key_log)
