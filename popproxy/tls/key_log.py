"""The file of TLS keys: whoever has it can decrypt what was captured of the wire (P16).

It is written by OpenSSL, in the format that Wireshark reads. Here it is only made, before OpenSSL
would make it with the modes that the umask leaves.
"""

from __future__ import annotations

import errno
import os
import shlex
import stat
from pathlib import Path

from popproxy.tls.failures import TlsSetupError

ENDING = ".SECRET"
"""Ends the file's name."""
_HEADER = b"""\
# SECRET: keys of TLS connections, written by popproxy because it was asked to (--tls-keys).
# Whoever has this file can decrypt what was captured of them, passwords included.
# Delete it when it has served its purpose.
"""
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY


def prepare(path: Path) -> None:
    """Make the file, for its owner's eyes only, or see that nobody else can read it.

    Args:
        path: Where it is to be.

    Raises:
        TlsSetupError: It cannot be used; the message says what to do.
    """
    if not path.name.endswith(ENDING):
        raise TlsSetupError(
            f"the file of TLS keys {path} has to end in {ENDING}, so that nobody mistakes it; name"
            f" it {path.name}{ENDING}"
        )
    try:
        descriptor = _opened(path)
    except OSError as error:
        raise TlsSetupError(_trouble(path, error)) from None
    try:
        _check(path, os.fstat(descriptor))
        if os.fstat(descriptor).st_size == 0:
            os.write(descriptor, _HEADER)
    except OSError as error:
        raise TlsSetupError(_trouble(path, error)) from None
    finally:
        os.close(descriptor)


def _opened(path: Path) -> int:
    try:
        descriptor = os.open(path, _FLAGS | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return os.open(path, _FLAGS)
    os.fchmod(descriptor, 0o600)  # the umask may have taken too much away
    return descriptor


def _check(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise TlsSetupError(f"the file of TLS keys {path} is no file; name another one")
    if status.st_uid != os.geteuid():
        raise TlsSetupError(
            f"the file of TLS keys {path} belongs to another user (number {status.st_uid}); name"
            " another one, or delete it"
        )
    mode = stat.S_IMODE(status.st_mode)
    if mode & 0o077:
        raise TlsSetupError(
            f"the file of TLS keys {path} is open to other users (mode {mode:04o}); close it with:"
            f" chmod 600 {shlex.quote(str(path))}"
        )


def _trouble(path: Path, error: OSError) -> str:
    if error.errno == errno.ELOOP:
        return (
            f"the file of TLS keys {path} is a symbolic link, which is not followed; name the file"
            " itself"
        )
    return (
        f"the file of TLS keys {path} cannot be written: {error.strerror}; name a file in a folder"
        " that exists and that the user who runs popproxy may write to"
    )
