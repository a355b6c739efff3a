"""Opening log files so that nobody else can read them or turn them elsewhere (P48, P69).

The final component is opened relative to its directory's descriptor and never through a symbolic
link. A file that we create has mode 0600 and a directory 0700, whatever the umask: the mode is
given at creation, so there is no moment at which it is wider, and set once more in case the umask
made it narrower than we need. Directories that exist are used as they are, links included: the
operator who named them may keep logs on another disk.

Nothing here waits: FIFOs and devices are opened with `O_NONBLOCK`, and a FIFO without a reader is
an error (`ENXIO`) that the caller tries again later.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import stat
from datetime import UTC, datetime
from pathlib import Path

from popproxy.sinks.base import SinkError, explain
from popproxy.sinks.naming import Template

FILE_MODE = 0o600
DIRECTORY_MODE = 0o700
PACKED = ".zst"
"""What is put behind the name of a file that was set aside when it is packed."""

_TRIES = 100  # names that are tried, should others take them at the same time

_DIRECTORY_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FILE_FLAGS = os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
_DESCRIPTOR = re.compile(r"/dev/fd/(\d+)|/proc/self/fd/(\d+)|/dev/std(out|err)")


def open_directory(path: str) -> int:
    """Open a directory; make it, and those above it, if they are missing.

    Args:
        path: The directory; empty for the current one.

    Returns:
        A descriptor that the caller closes.

    Raises:
        OSError: It cannot be opened or made.
    """
    current = os.open("/" if path.startswith("/") else ".", _DIRECTORY_FLAGS)
    for component in path.split("/"):
        if component in {"", "."}:
            continue
        parent = current
        try:
            current = _enter(parent, component)
        finally:
            os.close(parent)
    return current


def _enter(parent: int, name: str) -> int:
    try:
        return os.open(name, _DIRECTORY_FLAGS, dir_fd=parent)
    except FileNotFoundError:
        pass
    try:
        os.mkdir(name, DIRECTORY_MODE, dir_fd=parent)
    except FileExistsError:
        pass  # Somebody was faster: it is theirs, and used as it is.
    else:
        mode = os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode
        if stat.S_IMODE(mode) & DIRECTORY_MODE != DIRECTORY_MODE:
            os.chmod(name, DIRECTORY_MODE, dir_fd=parent)  # the umask took away too much
    return os.open(name, _DIRECTORY_FLAGS, dir_fd=parent)


def open_log(path: str) -> int:
    """Open a log file for appending; make it if it is missing.

    Regular files are opened for reading too, so that a torn last line can be seen.

    Returns:
        A descriptor that the caller closes.

    Raises:
        OSError: It cannot be opened: a symbolic link (ELOOP), a directory (EISDIR), a FIFO that
            nobody reads (ENXIO), a block device (ENOTSUP), missing rights, a full disk …
    """
    directory, name = os.path.split(path)
    parent = open_directory(directory)
    try:
        descriptor = _open_in(parent, name)
    finally:
        os.close(parent)
    return descriptor


def _open_in(parent: int, name: str) -> int:
    create = os.O_RDWR | os.O_CREAT | os.O_EXCL | _FILE_FLAGS
    try:
        descriptor = os.open(name, create, FILE_MODE, dir_fd=parent)
    except FileExistsError:
        return _open_existing(parent, name)
    if stat.S_IMODE(os.fstat(descriptor).st_mode) != FILE_MODE:
        os.fchmod(descriptor, FILE_MODE)  # the umask took away too much
    return descriptor


def _open_existing(parent: int, name: str) -> int:
    mode = os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode
    if stat.S_ISBLK(mode):
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))
    if stat.S_ISREG(mode):
        try:
            return os.open(name, os.O_RDWR | _FILE_FLAGS, dir_fd=parent)
        except PermissionError:
            pass  # It may still be open to writing alone.
    # Not for reading: a FIFO opened both ways would be its own reader.
    return os.open(name, os.O_WRONLY | _FILE_FLAGS, dir_fd=parent)


def set_aside(path: str, descriptor: int, when: datetime) -> str | None:
    """Rename a file that is open, from `NAME.jsonl` to `NAME.20261127T180000Z.jsonl`.

    Never over another file: the new name is made first, empty, which fails if it is taken, and
    then replaced. So it also works where there are no hard links.

    Args:
        path: The file's path.
        descriptor: The file.
        when: The moment for its name.

    Returns:
        Its new path; None if the path does not name this file any more.

    Raises:
        OSError: It cannot be renamed; it has its name still.
    """
    directory, name = os.path.split(path)
    parent = open_directory(directory)
    try:
        if not _names(parent, name, descriptor):
            return None
        new = _reserve(parent, name, when)
        try:
            os.rename(name, new, src_dir_fd=parent, dst_dir_fd=parent)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(new, dir_fd=parent)
            raise
    finally:
        os.close(parent)
    return os.path.join(directory, new)  # noqa: PTH118 -- paths are text here


def exists(parent: int, name: str) -> bool:
    """Tell whether a directory, given as its descriptor, has a name."""
    try:
        os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _names(parent: int, name: str, descriptor: int) -> bool:
    try:
        found = os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return os.path.samestat(found, os.fstat(descriptor))


def stem_and_suffix(name: str) -> tuple[str, str]:
    """Split a file's name where the time is put in: `all` and `.jsonl`."""
    stem, dot, suffix = name.rpartition(".")
    return (stem, dot + suffix) if stem else (name, "")


def _reserve(parent: int, name: str, when: datetime) -> str:
    """Make an empty file under the next name of its second, also behind those that were packed.

    Names of a second go up, even if earlier ones are free again, so that they sort by age.
    """
    stem, suffix = stem_and_suffix(name)
    beginning = f"{stem}.{when.astimezone(UTC):%Y%m%dT%H%M%SZ}"
    taken = re.compile(rf"{re.escape(beginning)}(?:-(\d+))?{re.escape(suffix)}(?:{PACKED})?")
    found = (taken.fullmatch(other) for other in os.listdir(parent))
    number = max((int(match[1] or 1) for match in found if match), default=0)
    for _ in range(_TRIES):
        number += 1
        new = f"{beginning}{f'-{number}' if number > 1 else ''}{suffix}"
        with contextlib.suppress(FileExistsError):
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FILE_FLAGS
            os.close(os.open(new, flags, FILE_MODE, dir_fd=parent))
            # Asked now that the name is held: before, a file could be packed in between.
            if not exists(parent, new + PACKED):
                return new
            os.unlink(new, dir_fd=parent)
    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))


def sync_directory(path: str) -> None:
    """Wait until the disk has the names in a file's directory.

    Raises:
        OSError: It failed.
    """
    parent = open_directory(os.path.split(path)[0])
    try:
        os.fsync(parent)
    finally:
        os.close(parent)


def lock(descriptor: int) -> None:
    """Take an open file for this process alone, as long as the descriptor is open (flock).

    Raises:
        OSError: Another one has it (EBUSY). That this file system knows no locks is no error.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY)) from None
    except OSError as error:
        # EBADF: over NFS, a file that was opened for reading alone cannot be locked.
        if error.errno not in {errno.ENOLCK, errno.ENOTSUP, errno.EINVAL, errno.EBADF}:
            raise


def is_locked(path: str) -> bool:
    """Tell whether a process has a file for itself; see `lock`."""
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        descriptor = os.open(path, flags)
    except OSError:
        return False
    try:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False


def readable_by_others(descriptor: int) -> bool:
    """Tell whether a regular file can be read by somebody other than its owner."""
    status = os.fstat(descriptor)
    return stat.S_ISREG(status.st_mode) and bool(status.st_mode & 0o044)


def descriptor_of(path: str) -> int | None:
    """Give the descriptor that a path such as `/dev/stdout` or `/dev/fd/63` stands for.

    These are symbolic links, which `open_log` refuses; they mean a stream that is open already.
    """
    found = _DESCRIPTOR.fullmatch(path)
    if found is None:
        return None
    number, process_number, standard = found.groups()
    if standard:
        return 1 if standard == "out" else 2
    return int(number or process_number)


def check_path(template: Template) -> None:
    """Find out, before any traffic, whether files of a template can be written.

    The directory is made as far as its name is known. No file is made.

    Raises:
        SinkError: They cannot; the message says why and what to do.
    """
    directory = template.fixed_directory
    shown = directory or str(Path.cwd())
    try:
        parent = open_directory(directory)
    except OSError as error:
        raise SinkError(
            f"the directory {shown} cannot be used for log files: {explain(error)}"
        ) from None
    try:
        if template.text.rpartition("/")[0] == directory.rstrip("/") and "&" not in template.text:
            _check_file(parent, template.text)
        elif not os.access(".", os.W_OK | os.X_OK, dir_fd=parent):
            raise SinkError(
                f"no log file can be made in {shown}: no right to write there; choose another"
                " directory, or give the user that runs popproxy the right"
            )
    finally:
        os.close(parent)


def _check_file(parent: int, path: str) -> None:
    name = path.rpartition("/")[2]
    try:
        mode = os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode
    except FileNotFoundError:
        if os.access(".", os.W_OK | os.X_OK, dir_fd=parent):
            return
        raise SinkError(f"{path} cannot be made: no right to write in its directory") from None
    except OSError as error:
        raise SinkError(f"{path} cannot be used: {explain(error)}") from None
    if stat.S_ISDIR(mode):
        raise SinkError(f"{path} is a directory; add a file name, for instance {path}/&S.log")
    if stat.S_ISLNK(mode):
        raise SinkError(
            f"{path} is a symbolic link, and log files are not written through links; name the"
            " file that it points to"
        )
    if stat.S_ISBLK(mode) or stat.S_ISSOCK(mode):
        raise SinkError(f"{path} is neither a file nor a FIFO; choose another path")
    if not os.access(name, os.W_OK, dir_fd=parent):
        raise SinkError(f"{path} cannot be written: no right to write it")
