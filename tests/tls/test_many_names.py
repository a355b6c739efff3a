from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from popproxy.tls.folder import CERTIFICATE, KEY, LOCK

ROOT = Path(__file__).parents[2]
COUNT = 10_000
MOST = 20 << 20
"""Octets by which memory may grow (P36)."""


def test_p36_ten_thousand_names_take_little_memory_and_leave_no_file(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "tests.tls.many_names", str(tmp_path), str(COUNT)],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "PYTHONDONTWRITEBYTECODE": "1",
            "HOME": str(tmp_path),
            "TMPDIR": str(tmp_path),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stderr == ""
    told = json.loads(result.stdout)
    assert told["asked"] > COUNT
    assert told["grew"] < MOST
    assert told["files"] == [f"authority/{name}" for name in sorted((LOCK, KEY, CERTIFICATE))]
