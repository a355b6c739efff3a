"""How a session is recorded."""

from __future__ import annotations

import os
from dataclasses import InitVar, dataclass, field

from popproxy.privacy.pseudonyms import Pseudonyms
from popproxy.records import BodyPolicy, PolicyPart

_KEY_SIZE = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What the user decided on what is recorded. Secrets are masked under every policy.

    Attributes:
        body: How much of messages is recorded (P17).
        mask_users: Whether users' names are replaced by pseudonyms (P12).
        require_log: Whether no byte may be forwarded that could not be recorded; for the session's
            first record only, the relay acts on it.
        pseudonyms: The names that stand for users; None if they are shown.
    """

    body: BodyPolicy = "full"
    mask_users: bool = False
    require_log: bool = False
    pseudonym_key: InitVar[bytes] = b""
    """Key of the pseudonyms; made at random if it is empty, so that a pseudonym means something
    within one run only."""
    pseudonyms: Pseudonyms | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self, pseudonym_key: bytes) -> None:
        """Make the pseudonyms."""
        if self.mask_users:
            made = Pseudonyms(pseudonym_key or os.urandom(_KEY_SIZE))
            object.__setattr__(self, "pseudonyms", made)

    def told(self) -> PolicyPart:
        """Give what the session's first record says of it."""
        return PolicyPart(body=self.body, mask_users=self.mask_users, require_log=self.require_log)
