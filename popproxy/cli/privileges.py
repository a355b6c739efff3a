"""Root: refused unless it is asked for, and given up for good when it is not needed any more (P70).

popproxy reads what strangers send and writes files, so it should not be root while it does. Only
root may open a port below 1024, though. So whoever starts it as root says who it is to become;
that happens as soon as the listeners are bound, before the first client is accepted. Until then
nothing is written, and paths are checked as that user. `--user root` means to stay root.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import resource
from collections.abc import Iterator
from dataclasses import dataclass

from popproxy.cli.errors import CommandError, Status


@dataclass(frozen=True)
class Identity:
    """A user to become.

    Attributes:
        name: The user's name.
        uid: The user's number.
        gid: The number of the user's own group.
        groups: The numbers of all groups that the user is in.
        home: The user's home.
    """

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str


def wanted_identity(name: str) -> Identity | None:
    """Find out whom to become.

    Args:
        name: What `--user` says; empty if nothing.

    Returns:
        The user; None if the process may stay who it is.

    Raises:
        CommandError: It is root and was not told, or the user is not there or out of reach.
    """
    if not name:
        if os.geteuid() == 0:
            raise CommandError(
                "popproxy was started as root, and not told whom to become",
                hint=(
                    "Add --user NAME: once it listens, it becomes that user for good.\n"
                    "In a container, or to stay root on purpose: --user root, or set\n"
                    "POPPROXY_PROCESS__USER=root."
                ),
                status=Status.USAGE,
            )
        return None
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        raise CommandError(
            f"there is no user {name!r}",
            hint="--user takes a name of this system's users, as nobody.",
            status=Status.USAGE,
        ) from None
    if entry.pw_uid == os.geteuid() == os.getuid():
        return None
    if os.geteuid() != 0:
        raise CommandError(
            f"only root can become another user, as --user {name} asks",
            hint=f"Start it as root, or as {name}, or leave --user out.",
            status=Status.USAGE,
        )
    groups = tuple(os.getgrouplist(name, entry.pw_gid))
    return Identity(name, entry.pw_uid, entry.pw_gid, groups, entry.pw_dir)


@contextlib.contextmanager
def acting_as(identity: Identity | None) -> Iterator[None]:
    """Be another user for a while, really and effectively, to see what that user may do."""
    if identity is None:
        yield
        return
    groups = os.getgroups()
    os.setgroups(identity.groups)
    os.setresgid(identity.gid, identity.gid, 0)
    os.setresuid(identity.uid, identity.uid, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)
        os.setresgid(0, 0, 0)
        os.setgroups(groups)


def become(identity: Identity | None) -> None:
    """Become a user for good.

    Args:
        identity: The user; None to stay who one is.

    Raises:
        CommandError: It did not work, or root could be had again.
    """
    if identity is None:
        return
    try:
        os.setgroups(identity.groups)
        os.setresgid(identity.gid, identity.gid, identity.gid)
        os.setresuid(identity.uid, identity.uid, identity.uid)
    except OSError as error:
        raise CommandError(
            f"cannot become {identity.name}: {error.strerror}",
            hint="In a container, it may lack the right to: start it as that user instead.",
            status=Status.FAILED,
        ) from None
    if identity.uid != 0 and _can_be_root():
        raise CommandError(
            f"became {identity.name}, but could be root again",
            hint="Something in this system keeps root's rights; popproxy does not go on so.",
            status=Status.FAILED,
        )


def _can_be_root() -> bool:
    for regain in (os.setuid, os.seteuid):
        with contextlib.suppress(PermissionError):
            regain(0)
            return True
    return 0 in os.getresuid()


def forbid_core_dumps() -> None:
    """Let no crash leave the memory, which holds passwords, on a disk (P14)."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
