"""What a start imports: the times that people wait for are made of imports, and those are exact."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence

import pytest

from popproxy.cli import main
from popproxy.sinks.turns import SWITCH

_SCRIPT = """
import sys
before = set(sys.modules)
from popproxy.cli.main import main
status = main({argv!r}, {{}})
loaded = {{name.partition(".")[0] for name in set(sys.modules) - before}}
print("loaded:", *sorted(loaded), file=sys.stderr)
sys.exit(status)
"""


def loaded_by(*argv: str) -> set[str]:
    result = subprocess.run(
        [sys.executable, "-c", _SCRIPT.format(argv=list(argv))],
        capture_output=True,
        text=True,
        check=True,
    )
    line = next(line for line in result.stderr.splitlines() if line.startswith("loaded:"))
    return set(line.split()[1:])


HEAVY = {"trio", "structlog", "rich", "rich_click", "msgspec", "attr"}


def test_version_loads_nothing_but_itself() -> None:
    loaded = loaded_by("--version")
    assert "popproxy" in loaded
    assert not loaded & (HEAVY | {"click", "typing", "re", "collections"})


@pytest.mark.parametrize(
    "argv", [["--help"], ["run", "--help"], ["completion", "bash"], ["config", "--help"]]
)
def test_help_and_completion_load_click_alone(argv: list[str]) -> None:
    loaded = loaded_by(*argv)
    assert "click" in loaded
    assert not loaded & HEAVY


def test_the_manual_does_not_load_the_relay() -> None:
    assert not loaded_by("help") & (HEAVY - {"rich"})


def test_the_configuration_is_shown_without_the_relay() -> None:
    assert not loaded_by("config", "schema") & (HEAVY - {"msgspec"})


def test_a_run_loads_structlog_rich_and_cryptography_only_when_needed() -> None:
    script = "import sys, popproxy.cli.run; print(*{m.partition('.')[0] for m in sys.modules})"
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    loaded = set(result.stdout.split())
    assert {"trio", "msgspec"} <= loaded
    assert not loaded & {"structlog", "rich", "rich_click", "cryptography", "truststore"}


def test_a_run_leaves_the_threads_of_sinks_their_share_of_the_interpreter() -> None:
    script = (
        "import sys, trio\n"
        "trio.run = lambda *_: print(sys.getswitchinterval())\n"
        "from popproxy.cli.main import main\n"
        "sys.exit(main(['run', '--user', 'root', '--upstream', 'pop3://127.0.0.1:1'], {}))"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert float(result.stdout) == pytest.approx(SWITCH)


def test_ctrl_c_while_modules_are_imported_ends_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupted(_argv: Sequence[str], _env: Mapping[str, str]) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(main, "main", interrupted)
    with pytest.raises(SystemExit) as ended:
        main.entry_point()
    assert ended.value.code == 130
