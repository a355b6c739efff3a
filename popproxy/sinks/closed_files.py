"""Finds the files of a sink that are closed, by the names that popproxy gives.

A template stands for a set of names. To that come those of files that were set aside, which have
the time in them, and of files that were packed. Nothing else is ours, whatever it is called.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from popproxy.sinks.files import PACKED, is_locked, stem_and_suffix
from popproxy.sinks.keeping import utc_now
from popproxy.sinks.naming import SESSION, Template

UNFINISHED: Final = f"{PACKED}.new"
"""What stands behind the name of a file that is being packed, with a dot in front."""
_SETTLED: Final = timedelta(hours=1)
"""After this time without a change, a file is not written any more, and an empty one is no name
that is just being taken."""
_ID: Final = f"-{SESSION}"  # behind a name that another session had


class Closed(NamedTuple):
    """A file that may be looked after, or counts at least; sorts by age.

    Attributes:
        when: When it was set aside, or else changed last.
        number: Tells files apart that were set aside in the same second.
        path: Its path.
        size: Its octets.
        free: Whether it may be packed or removed.
    """

    when: datetime
    number: int
    path: str
    size: int
    free: bool

    @property
    def name(self) -> str:
        """Its name in its folder."""
        return os.path.basename(self.path)  # noqa: PTH119 -- paths are text here

    @property
    def folder(self) -> str:
        """Its folder; may be empty for the current one."""
        return os.path.dirname(self.path)  # noqa: PTH120 -- as above


class ClosedFiles:
    """Finds them.

    Args:
        template: Names the files.
    """

    def __init__(self, template: Template) -> None:
        self._top = template.fixed_directory
        *folders, name = template.patterns()
        self._folders = [re.compile(folder) for folder in folders]
        # Any other name may be that of a file that is gone on with, or somebody else's.
        self._ends_untimed = template.per_session or template.dated
        _, suffix = stem_and_suffix(template.text.rpartition("/")[2])
        ending = Template(suffix).patterns()[-1] if suffix else ""
        beginning = name[: len(name) - len(ending)] if ending else name
        self._pattern = re.compile(
            rf"{beginning}(?:{_ID})?(?:\.(\d{{8}}T\d{{6}}Z)(?:-(\d{{1,4}}))?)?{ending}(\.zst)?"
        )

    def find(self, *, clean: bool = False) -> list[Closed]:
        """Give the files, the oldest first.

        Args:
            clean: Remove what a packing left that was interrupted.

        Raises:
            OSError: A folder cannot be looked into.
        """
        found: list[Closed] = []
        for folder in self._folders_in(self._top, self._folders):
            with contextlib.suppress(FileNotFoundError), opened(folder) as parent:
                for name in os.listdir(parent):  # noqa: PTH208 -- a descriptor
                    if clean:
                        self._clean(parent, folder, name)
                    if (closed := self._known(parent, folder, name)) is not None:
                        found.append(closed)
        return sorted(found)

    def _folders_in(self, top: str, below: list[re.Pattern[str]]) -> Iterator[str]:
        """Give the folders that the template stands for."""
        if not below:
            yield top
            return
        with contextlib.suppress(FileNotFoundError), opened(top) as parent:
            for name in sorted(os.listdir(parent)):  # noqa: PTH208 -- a descriptor
                if below[0].fullmatch(name) and _is_folder(parent, name):
                    yield from self._folders_in(_joined(top, name), below[1:])

    def _known(self, parent: int, folder: str, name: str) -> Closed | None:
        """Say what is known of a file by its name; None if it is not one of ours."""
        match = self._pattern.fullmatch(name)
        if match is None:
            return None
        try:
            status = os.stat(name, dir_fd=parent, follow_symlinks=False)
            changed = datetime.fromtimestamp(status.st_mtime, UTC)
            when = changed if match[1] is None else _moment(match[1])
        except (OSError, ValueError, OverflowError):
            return None
        settled = max(when, changed) < utc_now() - _SETTLED
        if not stat.S_ISREG(status.st_mode) or not (status.st_size or settled):
            return None
        free = match[1] is not None or match[3] is not None or (self._ends_untimed and settled)
        return Closed(when, int(match[2] or 1), _joined(folder, name), status.st_size, free)

    def _clean(self, parent: int, folder: str, name: str) -> None:
        """Remove what an interrupted run left, unless another popproxy is packing that file now."""
        original = name.removesuffix(UNFINISHED).removeprefix(".")
        if (
            name == f".{original}{UNFINISHED}"
            and self._pattern.fullmatch(original)
            and not is_locked(_joined(folder, original))
        ):
            with contextlib.suppress(OSError):  # it is tried again
                os.unlink(name, dir_fd=parent)


@contextlib.contextmanager
def opened(folder: str) -> Iterator[int]:
    """Open a folder for as long as it is looked into; it is not made."""
    descriptor = os.open(folder or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _is_folder(parent: int, name: str) -> bool:
    try:
        return stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode)
    except OSError:
        return False


def _joined(folder: str, name: str) -> str:
    return os.path.join(folder, name)  # noqa: PTH118 -- paths are text here


def _moment(text: str) -> datetime:
    """Read the time in the name of a file that was set aside.

    Raises:
        ValueError: It is none.
    """
    return datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
