"""The guide says what the program does: drawn parts are up to date, links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.guide import DRAWN, pages, redrawn

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.stem)
def test_drawn_parts_are_up_to_date(page: Path) -> None:
    text = page.read_text("utf-8")
    assert text == redrawn(text), "run: uv run python -m tests.support.guide"


def test_every_drawn_part_is_in_the_guide() -> None:
    together = "".join(page.read_text("utf-8") for page in pages())
    for name in DRAWN:
        assert f"<!-- drawn: {name} -->" in together


@pytest.mark.parametrize("page", [*pages(), ROOT / "README.md"], ids=lambda page: page.stem.lower())
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.stem)
def test_every_page_is_in_the_index(page: Path) -> None:
    index = (page.parent / "index.md").read_text("utf-8")
    assert page.stem == "index" or f"]({page.name})" in index
