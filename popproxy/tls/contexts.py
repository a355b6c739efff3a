"""What both legs' contexts share: built by hand, so that nothing but our settings decides.

`ssl.create_default_context` is not used: it obeys the environment variable SSLKEYLOGFILE (P40).
"""

from __future__ import annotations

import ssl
from pathlib import Path

from popproxy.tls.settings import Minimum

_VERSIONS = {
    "1.0": ssl.TLSVersion.TLSv1,
    "1.1": ssl.TLSVersion.TLSv1_1,
    "1.2": ssl.TLSVersion.TLSv1_2,
    "1.3": ssl.TLSVersion.TLSv1_3,
}


def server_context(minimum: Minimum, key_log: Path | None) -> ssl.SSLContext:
    """Make a context for the side that is connected to; it has no certificate yet.

    Args:
        minimum: The oldest version of TLS that is spoken.
        key_log: Where to write the keys of each connection, or None.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _VERSIONS[minimum]
    if minimum in ("1.0", "1.1"):
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
    if key_log is not None:
        context.keylog_filename = str(key_log)
    return context
