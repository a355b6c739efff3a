"""The HTML page in headless Chromium: nothing is loaded, nothing of a peer's acts, keys work.

The browser runs once for each page and prints what became of it. A script at the page's end, which
only this test's copy of the page allows, presses keys and notes what it sees.
"""

from __future__ import annotations

import html
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from popproxy.formats import HtmlWriter, html_page
from popproxy.records import Record
from tests.support.conversations import SECRET, load_all
from tests.support.make_samples import records as records_of
from tests.support.programs import needs

PROBE = """
window.violations = [];
document.addEventListener('securitypolicyviolation', (event) => {
  if (!event.blockedURI.startsWith('inline-probe')) window.violations.push(event.violatedDirective);
});
const press = (key) =>
  (document.activeElement || document.body).dispatchEvent(
    new KeyboardEvent('keydown', { key, bubbles: true, cancelable: true }));
addEventListener('load', () => {
  const shown = () => document.querySelectorAll('.x:not([hidden])').length;
  const told = { violations: window.violations, alerts: window.alerts || 0 };
  told.lines = shown();
  told.tags = [...new Set([...document.querySelectorAll('*')].map((one) => one.localName))];
  told.handlers = [...document.querySelectorAll('*')].filter((one) =>
    one.getAttributeNames().some((name) => name.startsWith('on'))).length;
  told.images = document.images.length;
  told.background = getComputedStyle(document.body).backgroundColor;
  document.querySelector('.x').focus();
  press('j'); press('j'); press('k');
  told.at = [...document.querySelectorAll('.x')].indexOf(document.activeElement);
  const folded = () => document.querySelectorAll('details:not([open])').length;
  told.folded = folded();
  dispatchEvent(new Event('beforeprint'));
  told.foldedInPrint = folded();
  const filter = document.querySelector('input[type=search]');
  press('/');
  told.filtering = document.activeElement === filter;
  filter.value = 'QUIT'; filter.dispatchEvent(new Event('input'));
  told.filtered = shown();
  filter.value = ''; filter.dispatchEvent(new Event('input'));
  const buttons = [...document.querySelectorAll('button')];
  buttons.find((one) => one.textContent === 'Findings only').click();
  told.odd = shown();
  told.resources = performance.getEntriesByType('resource').length;
  const out = document.createElement('output');
  out.textContent = JSON.stringify(told);
  document.body.replaceChildren(out);
});
"""


def page_of(records: list[Record]) -> str:
    writer = HtmlWriter()
    for record in records:
        writer.write(record)
    return writer.end().decode()


def browse(page: str, folder: Path, *options: str) -> str:
    """Open a page, and give the document that came of it."""
    path = folder / "page.html"
    path.write_text(page, "utf-8")
    done = subprocess.run(
        [
            *("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
            *("--disable-dev-shm-usage", f"--user-data-dir={folder / 'profile'}"),
            *("--host-resolver-rules=MAP * ~NOTFOUND", "--virtual-time-budget=4000"),
            *(*options, "--dump-dom", path.as_uri()),
        ],
        capture_output=True,
        timeout=120,
        check=True,
    )
    return done.stdout.decode()


def probed(page: str, folder: Path, *options: str) -> dict[str, Any]:
    """Open a page with the probe in it, which the policy is made to allow."""
    allowed = html_page.POLICY.replace("script-src ", "script-src 'nonce-probe' ")
    page = page.replace(html_page.POLICY, allowed)
    page = page.replace("<style>", f'<script nonce="probe">{PROBE}</script><style>', 1)
    found = re.search(r"<output>(.*?)</output>", browse(page, folder, *options), re.DOTALL)
    assert found is not None, "the probe did not come to its end"
    told: dict[str, Any] = json.loads(html.unescape(found[1]))
    return told


@pytest.fixture(scope="module")
def page() -> str:
    return page_of(
        [
            record
            for number, conversation in enumerate(load_all(), 1)
            for record in records_of(conversation.name, number)
        ]
    )


@needs("chromium")
def test_p47_nothing_of_any_conversation_acts(page: str, tmp_path: Path) -> None:
    told = probed(page, tmp_path)
    assert told["violations"] == []
    assert (told["handlers"], told["images"], told["resources"]) == (0, 0, 0)
    assert not {"img", "iframe", "object", "form", "link", "base"} & set(told["tags"])
    # Keys, filter, folding.
    assert told["lines"] > 2_500
    assert (told["at"], told["filtering"]) == (1, True)
    assert 0 < told["filtered"] < told["lines"] / 4
    assert 0 < told["odd"] < told["lines"] / 2
    assert (told["folded"] > 0, told["foldedInPrint"]) == (True, 0)


@needs("chromium")
def test_the_page_is_whole_without_a_script(page: str, tmp_path: Path) -> None:
    bare = page.replace(html_page.SCRIPT, "").replace(html_page.POLICY, "script-src 'none'")
    document = browse(bare, tmp_path)
    assert document.count("<details") == page.count("<details")
    assert document.count('<li class="x') == page.count('<li class="x')
    assert SECRET.decode() not in document


@needs("chromium")
def test_p47_the_policy_would_stop_what_got_in(tmp_path: Path) -> None:
    """The escape is one layer; here is the other, alone."""
    page = page_of(records_of("ordinary-session", 1))
    attack = "<img src=x onerror='document.title=1'><script>document.title = 2</script>"
    document = browse(page.replace("<main>", f"<main>{attack}", 1), tmp_path)
    assert re.search(r"<title>POP3 sessions of [\d-]+</title>", document)


@needs("chromium")
def test_the_page_follows_a_dark_browser(tmp_path: Path) -> None:
    page = page_of(records_of("ordinary-session", 1))
    light = probed(page, tmp_path)["background"]
    dark = probed(page, tmp_path, "--blink-settings=preferredColorScheme=0")["background"]
    assert light == "rgb(255, 255, 255)"
    assert dark == "rgb(20, 23, 26)"
