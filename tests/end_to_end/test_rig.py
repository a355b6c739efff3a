"""The rig itself: a search that finds nothing, or a gate that cannot fail, shows nothing."""

from __future__ import annotations

import base64
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.leaks import PASSWORD, forms, leaks
from tests.support.mails import EIGHT_BIT, MAILS, digest
from tests.support.programs import PACKAGES


@pytest.mark.parametrize(
    "told",
    [
        PASSWORD.encode(),
        PASSWORD.upper().encode(),
        PASSWORD[:7].encode() + b"\r\n" + PASSWORD[7:].encode(),
        PASSWORD.encode().hex().upper().encode(),
        b"Kiesel%25Wolke%2B47%2Fzart",
        base64.b64encode(f"\0bo\0{PASSWORD}".encode()),
        base64.b64encode(f"\0bob\0{PASSWORD}".encode()),
        base64.b64encode(f"\0bobo\0{PASSWORD}".encode()),
        base64.encodebytes((60 * "x" + PASSWORD + 60 * "x").encode()),
        base64.urlsafe_b64encode(PASSWORD.encode()),
    ],
)
def test_the_search_for_leaks_finds_each_form(told: bytes) -> None:
    assert leaks({"log": b"before " + told + b" after"})


def test_the_search_for_leaks_finds_nothing_in_what_is_masked() -> None:
    assert leaks({"log": b"USER bo.linde\r\nPASS ********\r\n+OK Kiesel Wolke\r\n"}) == []
    assert all(len(form) >= len(PASSWORD) for form in forms().values())


@pytest.mark.parametrize("mail", MAILS, ids=lambda mail: mail.name.replace(" ", "-"))
def test_the_digest_ignores_what_clients_add_and_nothing_else(mail: object) -> None:
    assert mail in MAILS
    content = next(known.content for known in MAILS if known is mail)
    added = b"Received: from here\r\n by there\r\nStatus: RO\r\n" + content
    assert digest(added) == digest(content) == digest(content.replace(b"\r\n", b"\n"))
    assert digest(content + b"\r\n") != digest(content)
    assert digest(content.replace(b"Subject", b"subject", 1)) != digest(content)


def test_the_digest_sees_a_changed_octet() -> None:
    changed = EIGHT_BIT.content.replace(b"\xff", b"\xfe")
    assert digest(changed) != digest(EIGHT_BIT.content)


def test_ci_installs_every_program_that_tests_need() -> None:
    script = (Path(__file__).parents[2] / ".ci" / "run").read_text()
    listed = re.search(r"^packages=\(([^)]*)\)$", script, re.MULTILINE)
    assert listed
    assert set(listed[1].split()) == set(PACKAGES.values())


SAMPLE = """
import pytest
from tests.support.programs import needs

@needs("mutt")
def test_of_a_program(): pass

@needs()
def test_of_no_program(): pass

def test_that_skips(): pytest.skip("I do not feel like it")

@pytest.mark.xfail
def test_of_a_known_bug(): assert False

@pytest.mark.soak
def test_for_hours(): pass
"""
SKIPPED_MODULE = "import pytest; pytest.skip('not today', allow_module_level=True)"


@pytest.mark.parametrize(
    ("source", "environment", "summary"),
    [
        (SAMPLE, {}, "1 passed, 2 skipped, 1 deselected, 1 xfailed"),
        (SAMPLE, {"CI": "true"}, "1 failed, 1 passed, 1 deselected, 1 xfailed, 1 error"),
        (
            SAMPLE,
            {"POPPROXY_NO_SKIPS": "1"},
            "1 failed, 1 passed, 1 deselected, 1 xfailed, 1 error",
        ),
        (SKIPPED_MODULE, {"CI": "true"}, "1 error"),
    ],
    ids=["at home", "in CI", "no skips", "a whole module"],
)
def test_a_missing_program_skips_and_in_ci_fails(
    source: str, environment: dict[str, str], summary: str, tmp_path: Path
) -> None:
    file = tmp_path / "test_sample.py"
    file.write_text(source)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in ("CI", "POPPROXY_NO_SKIPS", "COLUMNS") and not name.startswith("PYTEST_")
    }
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "tests.conftest", "-rs", str(file)],
        cwd=tmp_path,
        env={
            **kept,
            **environment,
            "PATH": str(tmp_path),
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "COLUMNS": "200",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert summary in run.stdout, run.stdout + run.stderr
    if source is SAMPLE:
        assert "mutt not found: apt-get install mutt" in run.stdout
