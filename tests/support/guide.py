"""The parts of the guide that are drawn from the program's own tables.

Run as a program, `uv run python -m tests.support.guide`, it draws them anew.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from popproxy.pop3.diagram import command_table, findings_table, state_diagram
from popproxy.tools.filter_fields import FIELDS
from tests.support import promises

GUIDE = Path(__file__).parents[2] / "popproxy" / "guide"


def _mermaid() -> str:
    return f"```mermaid\n{state_diagram()}```\n"


def _filters() -> str:
    rows = "".join(f"| `{one.name}` | {one.kind} | {one.about} |\n" for one in FIELDS.values())
    return f"| field | kind | what it is |\n|---|---|---|\n{rows}"


DRAWN: dict[str, Callable[[], str]] = {
    "states": _mermaid,
    "commands": command_table,
    "findings": findings_table,
    "filters": _filters,
    "promises": promises.table,
}

_BLOCK = re.compile(r"(<!-- drawn: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def redrawn(text: str) -> str:
    """Replace each drawn block of a page by what the tables say now."""
    return _BLOCK.sub(lambda found: f"{found[1]}\n{DRAWN[found[2]]()}\n{found[3]}", text)


def pages() -> list[Path]:
    return sorted(GUIDE.glob("*.md"))


if __name__ == "__main__":
    for page in pages():
        page.write_text(redrawn(page.read_text("utf-8")), "utf-8")
