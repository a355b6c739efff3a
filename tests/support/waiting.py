"""Waiting for something outside this process, with an end to the patience.

Tests here wait for events of other processes that nothing announces (a file grows, a process
ends). `until` looks often and gives up after `PATIENCE`; no test's result depends on how long
something took, only on whether it happened.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

PATIENCE = 30.0
"""Seconds until a test gives up; far more than anything needs on a slow machine."""

_never = threading.Event()
T = TypeVar("T")


def until(look: Callable[[], T], what: str, patience: float = PATIENCE) -> T:
    """Look until the answer is true.

    Args:
        look: Asked again and again, every 20 ms.
        what: What is awaited, for the message.
        patience: Seconds after which it is given up.

    Returns:
        The first true answer.

    Raises:
        AssertionError: It did not happen.
    """
    for _ in range(max(1, round(patience / 0.02))):
        if answer := look():
            return answer
        _never.wait(0.02)
    raise AssertionError(f"waited {patience:.0f} s in vain for {what}")
