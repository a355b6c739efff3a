"""A Python with popproxy in it that every user of the system may run.

Tests that give root up need one: the interpreter that runs them may lie in root's own home, where
others may not go. Files are linked rather than copied where that is possible.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

import popproxy

_LEFT_OUT = ("__pycache__", "test", "tests", "*.a", "idlelib", "mypy*", "ruff*", "hypothesis")


def _open_to_all(path: Path) -> bool:
    return all(folder.stat().st_mode & 0o001 for folder in (path, *path.parents))


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copy2(source, target)


def _linked(source: Path, target: Path, *left_out: str) -> None:
    ignore = shutil.ignore_patterns(*_LEFT_OUT, *left_out)
    shutil.copytree(source, target, copy_function=_link, ignore=ignore, symlinks=True)


@contextlib.contextmanager
def everybodys_popproxy() -> Iterator[tuple[list[str], dict[str, str], Path]]:
    """Make one; give a command, what its environment needs, and a folder that all may enter."""
    root = Path(tempfile.mkdtemp(prefix="popproxy-everybody-"))
    root.chmod(0o755)
    try:
        packages = root / "packages"
        _linked(Path(sysconfig.get_path("purelib")), packages)
        _linked(Path(popproxy.__file__).parent, packages / "popproxy")
        prefix = Path(sys.base_prefix)
        if not _open_to_all(prefix):
            prefix = root / "python"
            _linked(Path(sys.base_prefix), prefix, "site-packages")
        python = prefix / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"
        # The interpreter may look for its own library where it was installed first.
        environment = {"PYTHONPATH": str(packages), "LD_LIBRARY_PATH": str(prefix / "lib")}
        yield [str(python), "-m", "popproxy"], environment, root
    finally:
        shutil.rmtree(root)
