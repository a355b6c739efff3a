"""The notice that mail is being recorded, and how it is masked (P71)."""

from __future__ import annotations

from popproxy.privacy import Policy
from popproxy.records import MASK

_BODIES = {
    "full": "messages are recorded in full",
    "headers": "of messages only the headers are recorded",
    "none": "the content of messages is not recorded",
}
_KEYS = "; the keys of TLS connections are written to a file, which can decrypt them"


def notice(policy: Policy, *, keys_logged: bool = False) -> str:
    """Say in one sentence that mail is recorded and how, for banners and session records.

    Args:
        policy: How sessions are recorded.
        keys_logged: Whether the keys of TLS are written to a file (P16).
    """
    users = "user names are replaced by pseudonyms" if policy.mask_users else "user names are shown"
    return (
        "popproxy records this mail session:"
        f" {_BODIES[policy.body]}; passwords and other credentials are shown as {MASK}; {users}"
        f"{_KEYS if keys_logged else ''}."
    )
