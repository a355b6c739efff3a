"""HAProxy in front of popproxies, Dovecot behind them: who the client is, and what is provable."""

from __future__ import annotations

import subprocess

from tests.support.haproxy import EXAMPLE
from tests.support.programs import find, needs


@needs("haproxy")
def test_the_example_for_haproxy_is_valid() -> None:
    program = find("haproxy")
    assert program
    done = subprocess.run(
        [program, "-c", "-f", str(EXAMPLE)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
