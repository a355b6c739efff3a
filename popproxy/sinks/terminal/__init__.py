"""The live terminal: sessions as they happen, for a person who watches.

`make_console` decides about colours, `TerminalSink` takes the records, `Transcript` decides what
they look like. This is the only package below `cli` that needs rich.
"""

from popproxy.sinks.terminal.ink import ColorChoice, make_console
from popproxy.sinks.terminal.sink import TerminalSink
from popproxy.sinks.terminal.transcript import FOLD, Transcript

__all__ = ["FOLD", "ColorChoice", "TerminalSink", "Transcript", "make_console"]
