"""What is measured in every round: the loads, and the figure that each is judged by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Unit = Literal["MB/s", "/s"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mode:
    """A load.

    Attributes:
        name: in tables and after `--only`.
        options: of `load`; how long it takes is added to them.
        unit: megabytes or operations (commands, sessions, handshakes) per second.
        tls: whether both legs speak TLS.
    """

    name: str
    options: tuple[str, ...]
    unit: Unit
    tls: bool = False


MODES = (
    Mode(name="bulk-1mb", options=("bulk", "--messages", "201-240"), unit="MB/s"),
    Mode(
        name="bulk-25mb",
        options=("bulk", "--connections", "2", "--messages", "241-244"),
        unit="MB/s",
    ),
    Mode(name="chatty-1", options=("chatty",), unit="/s"),
    Mode(name="chatty-32", options=("chatty", "--connections", "32"), unit="/s"),
    Mode(
        name="churn-16",
        options=("churn", "--connections", "16", "--messages", "1-200"),
        unit="/s",
    ),
    Mode(
        name="pipelined-32", options=("pipe", "--window", "32", "--messages", "1-200"), unit="MB/s"
    ),
    Mode(name="tls-bulk-1mb", options=("bulk", "--messages", "201-240"), unit="MB/s", tls=True),
    Mode(name="tls-handshakes", options=("hs", "--connections", "8"), unit="/s", tls=True),
)
