"""The way to structlog for what popproxy says about itself while it runs.

Importing structlog takes nearly as long as everything else that popproxy does before it listens.
So nobody imports it at the top: `run` calls `load` when it has said where it listens, and just
before it accepts the first client; otherwise the first message loads it. It must not be left to
that in a long run: a message about descriptors that have run out could not open structlog's files.

Whoever starts the program says with `on_first_use` how structlog is to be set up; a program that
uses parts of popproxy as a library, and says nothing, keeps its own set-up.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

_lock = threading.Lock()
_set_up: Callable[[], None] | None = None


def on_first_use(set_up: Callable[[], None]) -> None:
    """Say how structlog is to be configured before its first message.

    Args:
        set_up: Configures it; called once, in the thread that needs it first.
    """
    global _set_up
    with _lock:
        _set_up = set_up


def logger(name: str) -> FilteringBoundLogger:
    """Give a logger.

    Args:
        name: Who speaks, as `popproxy.relay`.
    """
    global _set_up
    import structlog

    with _lock:
        if _set_up is not None:
            _set_up()
            _set_up = None
    bound: FilteringBoundLogger = structlog.get_logger(name)
    return bound


def load() -> None:
    """Load structlog now, while descriptors and the right to read its files are there."""
    logger("popproxy")
