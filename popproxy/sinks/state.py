"""What a sink says of itself to whoever looks after popproxy: numbers and causes, and no record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Condition = Literal["writing", "failing", "ended"]
"""Records are written as they come; they wait, because the output fails or stalls; or the output
wants no more of them, as a pipe whose reader has gone."""
LossReason = Literal["no-room", "refused", "late", "unwritten", "spool-full"]
"""Why records are lost: they found no room in the queue; no format or no output would take them;
they came after the end; the end came before they were written; or the spool for a collector dropped
them. This is all that there is, so that it may be the label of a metric."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkState:
    """How a sink is at one moment.

    Attributes:
        name: What people call it: its option and path.
        condition: Whether it writes.
        written: Records that were written so far.
        waiting: Records in its queue.
        octets: Memory that these take, in octets.
        room: The most that they may take, in octets.
        lost: Records that were lost so far, by reason; no reason without a record.
        trouble: The last reason why an output could not be written, in words; empty if it always
            could.
    """

    name: str
    condition: Condition
    written: int
    waiting: int
    octets: int
    room: int
    lost: dict[LossReason, int]
    trouble: str
