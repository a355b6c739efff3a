"""Where a line of popproxy's own could follow what a server sent (P27)."""

from __future__ import annotations

from collections.abc import Iterable

from popproxy.pop3 import Data, End, Event, Response, Side


class Border:
    """Follows the server's side.

    Attributes:
        here: Whether what came so far ends where a response ends.
    """

    __slots__ = ("_in_content", "here")

    def __init__(self) -> None:
        self.here = True
        self._in_content = False

    def follow(self, events: Iterable[Event], data: bytes, *, opaque: bool) -> None:
        """Go on.

        Args:
            events: What the parser made of a read of the server.
            data: What that read brought.
            opaque: Whether the parser reads no more.
        """
        for event in events:
            if isinstance(event, Response):
                self._in_content = event.multi_line
            elif isinstance(event, Data) and event.side is Side.SERVER:
                self._in_content = True
            elif isinstance(event, End) and event.side is Side.SERVER:
                self._in_content = False
        self.here = data.endswith(b"\n") and not self._in_content and not opaque
