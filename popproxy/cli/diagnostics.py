"""What popproxy says about itself, on standard error: the one place that configures structlog.

There are two ways to say something. `Announcer` is for the few sentences that a start or an end
consists of; it needs no structlog, whose import takes longer than everything else at a start.
Everything that happens later goes through structlog, from the relay and the sinks.

No message holds bytes of a peer, and no traceback is ever rendered: an exception's text may quote
the wire, and structlog's own renderers print local variables too (P13).
"""

from __future__ import annotations

import io
import json
import logging
import sys
import traceback
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

from popproxy.cli.unhurried import UnhurriedStream
from popproxy.formats.escape import visible

Level = Literal["debug", "info", "warning", "error"]
EventDict = MutableMapping[str, Any]
_LEVELS: dict[Level, int] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


@dataclass(frozen=True, kw_only=True)
class Diagnostics:
    """How popproxy speaks.

    Attributes:
        level: The least important level that is shown.
        form: For people, or one JSON object a line.
        colors: Whether to colour; decided by the caller, not guessed.
        stream: Where to write.
        worker: The worker that speaks; 0 if popproxy serves by itself, or its parent speaks.
    """

    level: Level = "info"
    form: Literal["console", "json"] = "console"
    colors: bool = False
    stream: TextIO
    worker: int = 0
    _opened: list[UnhurriedStream] = field(default_factory=list, init=False, repr=False)

    def announce(
        self,
        event: str,
        sentence: str,
        *,
        level: Level = "info",
        always: bool = False,
        **facts: str,
    ) -> None:
        """Say a sentence of a start or an end.

        Args:
            event: Its stable name, for JSON.
            sentence: What a person reads, a line of its own.
            level: How important it is.
            always: Whether to say it even if less important things are not shown.
            facts: Values for JSON.
        """
        if _LEVELS[level] < _LEVELS[self.level] and not always:
            return
        if self.form == "json":
            now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
            told: dict[str, str | int] = {"event": event, **facts, "level": level}
            told |= {"worker": self.worker} if self.worker else {}
            told |= {"timestamp": now, "message": sentence}
            print(json.dumps(told), file=self.stream, flush=True)
            return
        text = f"worker {self.worker}: " if self.worker else ""
        text += visible(sentence)
        if level in ("warning", "error"):
            color = {"warning": "\x1b[33m", "error": "\x1b[31m"}[level]
            text = f"{color}{level}:\x1b[0m {text}" if self.colors else f"{level}: {text}"
        print(text, file=self.stream, flush=True)

    def configure(self) -> None:
        """Set structlog up."""
        import structlog

        renderer: Any
        if self.form == "json":
            times = structlog.processors.TimeStamper(fmt="iso", utc=True)
            renderer = structlog.processors.JSONRenderer()
        else:
            times = structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False)
            renderer = structlog.dev.ConsoleRenderer(
                colors=self.colors,
                pad_event_to=0,
                pad_level=False,
                sort_keys=False,
                exception_formatter=structlog.dev.plain_traceback,
            )
        structlog.configure(
            processors=[
                structlog.processors.add_log_level,
                times,
                _without_exceptions,
                *([self._with_worker] if self.worker else []),
                *([] if self.form == "json" else [_for_people]),
                renderer,
            ],
            wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[self.level]),
            logger_factory=structlog.WriteLoggerFactory(file=self._unhurried()),  # type: ignore[arg-type] # only write and flush are used
            cache_logger_on_first_use=False,
        )

    def _with_worker(self, _logger: Any, _method: str, event: EventDict) -> EventDict:
        event["worker"] = self.worker
        return event

    def _unhurried(self) -> UnhurriedStream | TextIO:
        """Give the stream for messages that come while traffic passes."""
        try:
            opened = UnhurriedStream(self.stream.fileno())
        except (io.UnsupportedOperation, ValueError):  # no descriptor: nothing that could block
            return self.stream
        self._opened.append(opened)
        return opened

    def close(self, patience: float = 0.5) -> None:
        """Let messages that wait be written, for a while.

        Args:
            patience: How long in seconds.
        """
        for opened in self._opened:
            opened.close(patience)


def _without_exceptions(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """Put an exception's type and place where structlog would render all of it."""
    error = event.pop("exc_info", None)
    event.pop("stack_info", None)
    if error is True:
        error = sys.exc_info()
    if isinstance(error, tuple):
        error = error[1]
    if isinstance(error, BaseException):
        event["error"] = type(error).__name__
        frames = traceback.extract_tb(error.__traceback__)
        if frames:
            event["where"] = f"{frames[-1].filename}:{frames[-1].lineno}"
    return event


def _for_people(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """Say the sentence, if there is one, and leave nothing that a terminal would obey."""
    event = {
        key: visible(value) if isinstance(value, str) else value for key, value in event.items()
    }
    sentence = event.pop("message", None)
    if not sentence:
        sentence = str(event["event"]).replace("_", " ").replace("-", " ")
    worker = event.pop("worker", 0)
    event["event"] = f"worker {worker}: {sentence}" if worker else sentence
    return event
