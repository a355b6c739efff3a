"""Sealed files as one process after the other writes them."""

from __future__ import annotations

from pathlib import Path

from popproxy.sinks import FileSink
from popproxy.sinks.keeping import Every
from popproxy.sinks.seal import seals
from popproxy.sinks.series import Chain
from tests.support import samples


def sealed(
    template: Path,
    chain: Chain | None = None,
    *,
    rotate_size: int = 0,
    rotate_every: Every = "never",
    open_files: int = 8,
) -> FileSink:
    """Make a sink that seals, as a new process would."""
    return FileSink(
        "jsonl",
        str(template),
        gather=0.001,
        retry=0.001,
        make_keeper=seals(str(template), chain or Chain()),
        rotate_size=rotate_size,
        rotate_every=rotate_every,
        open_files=open_files,
    )


async def write(sink: FileSink, *sessions: str) -> None:
    """Have sessions written, and wait until they are."""
    for name in sessions:
        for record in samples.session(name):
            sink.put(record)
    assert await sink.flushed()


def logs(folder: Path) -> list[Path]:
    """Give the files, without the hidden ones in which a seal keeps its notes."""
    return [path for path in folder.iterdir() if not path.name.startswith(".")]
