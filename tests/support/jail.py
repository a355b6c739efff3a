"""A directory that a server takes for the whole file system.

Courier and Cyrus have paths compiled into them, `/etc/courier` and the like. In a jail these lie
in a temporary directory, with the server as `.ci/servers` unpacked it and the libraries that it
loads, and nothing of the system is touched. Only root can put a process into a jail.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

from tests.support.programs import SERVERS, find
from tests.support.waiting import PATIENCE

_LIBRARY_FOLDERS = ("usr/lib", "usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu")
_LOADED = re.compile(r"(/\S+) \(0x[0-9a-f]+\)$", re.MULTILINE)

OWNER = 65533
"""A user that the system does not know; servers run as this one, or read mail as it."""


class Jail:
    """A jail with a server in it.

    Attributes:
        root: Its directory.
    """

    def __init__(self, server: str, user: str, group: str) -> None:
        """Copy the server into a jail of its own.

        Args:
            server: A folder of `SERVERS`.
            user: The name that `OWNER` has inside.
            group: The name of the group that `OWNER` is in.
        """
        self.root = Path(tempfile.mkdtemp(prefix=f"popproxy-{server}-"))
        self.root.chmod(0o755)
        self._processes: list[subprocess.Popen[bytes]] = []
        shutil.copytree(SERVERS / server, self.root, symlinks=True, dirs_exist_ok=True)
        etc = self.root / "etc"
        (etc / "passwd").write_text(f"root:x:0:0::/:/none\n{user}:x:{OWNER}:{OWNER}::/:/none\n")
        (etc / "group").write_text(f"{group}:x:{OWNER}:\n")
        (self.root / "dev").mkdir()
        (self.root / "dev" / "null").touch(0o666)
        (self.root / "dev" / "urandom").write_bytes(os.urandom(1 << 16))

    def load(self, programs: Iterable[str]) -> None:
        """Copy the system's libraries that these programs load, paths inside the jail."""
        folders = ":".join(str(self.root / folder) for folder in _LIBRARY_FOLDERS)
        for program in programs:
            listed = subprocess.run(
                ["ldd", self.root / program],
                env={**os.environ, "LD_LIBRARY_PATH": folders},
                capture_output=True,
                text=True,
                check=True,
            ).stdout
            assert "not found" not in listed, f"{program} lacks a library:\n{listed}"
            for path in map(Path, _LOADED.findall(listed)):
                copy = self.root / path.relative_to("/")
                if not path.is_relative_to(self.root) and not copy.exists():
                    copy.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(path, copy)

    def folder(self, path: str) -> Path:
        """Make a folder that `OWNER` may write to."""
        folder = self.root / path
        folder.mkdir(parents=True, exist_ok=True)
        os.chown(folder, OWNER, OWNER)
        return folder

    def _arguments(self, command: Iterable[str]) -> list[str | Path]:
        program = find("chroot")
        assert program
        return [program, self.root, *command]

    def _environment(self, settings: dict[str, str]) -> dict[str, str]:
        folders = ":".join(f"/{folder}" for folder in _LIBRARY_FOLDERS)
        return {"PATH": "/usr/bin", "LD_LIBRARY_PATH": folders, **settings}

    def run(self, *command: str, told: bytes = b"", **settings: str) -> None:
        """Run a program inside to its end; it must succeed."""
        ended = subprocess.run(
            self._arguments(command),
            input=told,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=self._environment(settings),
            timeout=PATIENCE,
            check=False,
        )
        assert ended.returncode == 0, f"{command[0]}: {ended.stdout!r}"

    def start(self, *command: str, **settings: str) -> None:
        """Start a server inside; what it prints goes to the jail's file `output`."""
        with (self.root / "output").open("ab") as output:
            self._processes.append(
                subprocess.Popen(
                    self._arguments(command),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    env=self._environment(settings),
                    # Cyrus ends by a signal to its group, in which another test run may have one.
                    start_new_session=True,
                )
            )

    @property
    def output(self) -> str:
        """What the servers have printed."""
        return (self.root / "output").read_text(errors="replace")

    def stop(self) -> None:
        """End what runs inside and take everything away."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(self.root, ignore_errors=True)
