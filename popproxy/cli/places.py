"""Where popproxy keeps what it makes for itself, if nobody says otherwise."""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping
from pathlib import Path


def authority_directory(env: Mapping[str, str]) -> Path:
    """Give the folder of the local authority.

    Args:
        env: The environment; `XDG_DATA_HOME` counts if it is absolute, as its specification says.
    """
    data = env.get("XDG_DATA_HOME", "")
    if not data.startswith("/"):
        home = env.get("HOME") or _home()
        data = f"{home}/.local/share"
    return Path(data) / "popproxy" / "authority"


def spool_directory(env: Mapping[str, str]) -> Path:
    """Give the folder of what waits for syslog collectors.

    Args:
        env: The environment; `XDG_STATE_HOME` counts if it is absolute, as its specification says.
    """
    state = env.get("XDG_STATE_HOME", "")
    if not state.startswith("/"):
        home = env.get("HOME") or _home()
        state = f"{home}/.local/state"
    return Path(state) / "popproxy" / "syslog"


def _home() -> str:
    """Look the user's home up, as services are started without HOME."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_dir
    except KeyError:  # a container's user need not be in the system's list
        return "/nonexistent"
