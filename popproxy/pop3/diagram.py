"""The guide's picture of the state table and its tables, drawn from the data itself."""

from __future__ import annotations

from popproxy.pop3.findings import FINDINGS
from popproxy.pop3.grammar import COMMANDS, TRANSITIONS


def state_diagram() -> str:
    """Draw the state table (RFC 1939, section 3).

    Returns:
        A Mermaid state diagram, without the fence around it.
    """
    lines = ["stateDiagram-v2", "    [*] --> GREETING"]
    lines += [
        f"    {state.value} --> {following.value}: {trigger.value}"
        for (state, trigger), following in TRANSITIONS.items()
    ]
    lines.append("    UPDATE --> [*]")
    return "\n".join(lines) + "\n"


def command_table() -> str:
    """Write the grammar down as a Markdown table, one row a command."""
    rows = [
        "| command | arguments | several lines | states | arguments shown | source |",
        "|---|---|---|---|---|---|",
    ]
    for keyword, spec in COMMANDS.items():
        cells = (
            f"`{keyword.decode('ascii')}`",
            spec.syntax or "–",
            spec.multi_line.value,
            ", ".join(sorted(state.value for state in spec.states)),
            spec.secrecy.value,
            spec.source,
        )
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows) + "\n"


def findings_table() -> str:
    """Write the findings down as a Markdown table, one row a code."""
    rows = ["| code | severity | departs from | what it says |", "|---|---|---|---|"]
    for code, text in FINDINGS.items():
        rows.append(f"| `{code.value}` | {text.severity.value} | {text.rfc or '–'} | {text.what} |")
    return "\n".join(rows) + "\n"
