"""Ctrl-C that is not forgotten.

Python raises KeyboardInterrupt wherever it is at that moment. Where that is inside a library of C
that looks something up, the exception can get lost: msgspec, making a decoder, asks for the hashes
of types, and takes an error there for "not known yet". Who works on for ever would then never end.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def remembered() -> Iterator[Callable[[], None]]:
    """Remember that Ctrl-C was pressed.

    Yields:
        What raises KeyboardInterrupt if it was pressed before, and whoever was at work lost that.
    """
    pressed = False

    def press(_number: int, _frame: FrameType | None) -> None:
        nonlocal pressed
        pressed = True
        raise KeyboardInterrupt

    def raise_again() -> None:
        if pressed:
            raise KeyboardInterrupt

    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield raise_again  # somebody else listens, or it is to be ignored (nohup)
        return
    signal.signal(signal.SIGINT, press)
    try:
        yield raise_again
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
