"""The guide says what the program does: drawn parts are up to date, links lead somewhere."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path
from typing import get_args

import pytest

from popproxy.cli.commands_relay import run
from popproxy.relay.rules import Manner
from popproxy.relay.settings import StlsMode
from popproxy.relay.url import LISTENER_PORTS, SCHEMES, UPSTREAM_PORTS
from tests.support import promises
from tests.support.guide import DRAWN, GUIDE, pages, redrawn

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.stem)
def test_drawn_parts_are_up_to_date(page: Path) -> None:
    text = page.read_text("utf-8")
    assert text == redrawn(text), "run: uv run python -m tests.support.guide"


def test_every_drawn_part_is_in_the_guide() -> None:
    together = "".join(page.read_text("utf-8") for page in pages())
    for name in DRAWN:
        assert f"<!-- drawn: {name} -->" in together


@pytest.mark.parametrize("number", range(50, 73))
def test_each_promise_to_who_leaves_it_alone_has_tests(number: int) -> None:
    assert promises.UNATTENDED[number]
    assert promises.shown().get(number), f"no test cites P{number}"


@pytest.mark.parametrize("page", [*pages(), ROOT / "README.md"], ids=lambda page: page.stem.lower())
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.stem)
def test_every_page_is_in_the_index(page: Path) -> None:
    index = (page.parent / "index.md").read_text("utf-8")
    assert page.stem == "index" or f"]({page.name})" in index


def test_p28_the_page_on_tls_names_every_rule_that_changes_traffic() -> None:
    page = (GUIDE / "tls.md").read_text("utf-8")
    table = page.partition("| rule | when | what |")[2].partition("\n\n")[0]
    named = set(re.findall(r"^\| `([\w-]+)` \|", table, re.MULTILINE))
    manners = (
        Manner(listen=listen, upstream=upstream, mode=mode)
        for listen, upstream, mode in product(SCHEMES, SCHEMES, get_args(StlsMode))
    )
    names = {name for manner in manners for name in manner.names()}
    assert named == {name.removesuffix("-after-stls") for name in names}
    assert "`-after-stls`" in page


def test_the_page_on_tls_has_all_pairings_and_the_ports() -> None:
    page = (GUIDE / "tls.md").read_text("utf-8")
    for listen, upstream in product(SCHEMES, SCHEMES):
        assert page.count(f"\n| `{listen}://` | `{upstream}://` | ") == 1
    for scheme in SCHEMES:
        ports = f"{LISTENER_PORTS[scheme]} | {UPSTREAM_PORTS[scheme]}"
        assert re.search(
            rf"\n\| `{re.escape(scheme)}://` \| [^|\n]* \| {re.escape(ports)} \|\n", page
        )


def test_every_option_of_a_route_is_in_the_manual() -> None:
    pages = {name: (GUIDE / f"{name}.md").read_text("utf-8") for name in ("tls", "deploying")}
    for option in run.params:
        setting = getattr(option, "setting", "")
        page = pages["deploying" if setting.startswith("route.proxy") else "tls"]
        if setting.startswith(("route.", "tls.")):
            assert f"`{option.opts[0]}" in page or f" {option.opts[0]} " in page, option.opts[0]
