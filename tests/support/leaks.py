"""Does an output hold the password, in any form?"""

from __future__ import annotations

import base64
import urllib.parse
from collections.abc import Iterator, Mapping

USER = "bo.linde"
PASSWORD = "Kiesel%Wolke+47/zart"
"""The account's password: it differs from itself in every encoding that is looked for."""


def _base64_cores(secret: bytes) -> Iterator[bytes]:
    """Give the part of base64 text that depends on nothing but the secret, at each alignment."""
    for before in range(3):
        text = base64.b64encode(bytes(before) + secret)
        start = -(-before * 8 // 6)
        whole = (before + len(secret)) * 8 // 6
        yield text[start:whole]


def forms(secret: str = PASSWORD) -> dict[str, bytes]:
    """Give every form of the secret that is looked for, in lower case.

    Returns:
        The form's name, and the octets to look for in the output's lower-cased text.
    """
    plain = secret.encode()
    found = {
        "plain": plain,
        "hex": plain.hex().encode(),
        "hex with colons": plain.hex(":").encode(),
        "hex with blanks": plain.hex(" ").encode(),
        "percent": urllib.parse.quote(secret, safe="").encode(),
        "percent, all": "".join(f"%{octet:02x}" for octet in plain).encode(),
        "utf-16": secret.encode("utf-16-le"),
        "repr": repr(secret)[1:-1].encode(),
        "slash escaped": plain.replace(b"/", rb"\/"),
        "backwards": plain[::-1],
    }
    for number, core in enumerate(_base64_cores(plain)):
        found[f"base64 at {number}"] = core
        found[f"url-safe base64 at {number}"] = core.translate(bytes.maketrans(b"+/", b"-_"))
    return {name: form.lower() for name, form in found.items()}


def leaks(outputs: Mapping[str, bytes], secret: str = PASSWORD) -> list[str]:
    """Name every output that holds the secret, with the form that was found.

    Line ends are removed too, since a form may be wrapped.
    """
    found = []
    for output, content in outputs.items():
        lower = content.lower()
        texts = (lower, lower.replace(b"\r", b"").replace(b"\n", b""))
        for name, form in forms(secret).items():
            if any(form in text for text in texts):
                found.append(f"{output} holds the password ({name})")
    return found
