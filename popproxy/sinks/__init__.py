"""Where records go: files, standard output, the terminal.

`Hub` takes records and hands them to every sink. `FileSink` and `StreamSink` write them in a
thread of their own, so that no disk and no reader ever delays traffic. The terminal sink has a
module of its own, because it alone needs rich.
"""

from popproxy.sinks.base import Sink, SinkError
from popproxy.sinks.file_sink import FileSink
from popproxy.sinks.generations import Generations
from popproxy.sinks.hub import Hub
from popproxy.sinks.naming import Template, TemplateError, expand, is_per_session
from popproxy.sinks.stream_sink import StreamSink

__all__ = [
    "FileSink",
    "Generations",
    "Hub",
    "Sink",
    "SinkError",
    "StreamSink",
    "Template",
    "TemplateError",
    "expand",
    "is_per_session",
]
