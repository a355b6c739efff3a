"""The files in config/, which people copy: each is read by a test, and a new one has to be.

The tests of most are elsewhere, where the program is that they are for; those of the unit and the
image are here.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from zipfile import ZipFile

import pytest

from popproxy.cli.commands import popproxy
from popproxy.relay.url import LISTENER_PORTS
from tests.support.programs import find, needs
from tests.support.proxy import command

ROOT = Path(__file__).parents[1]
CONFIG = ROOT / "config"
READ_BY = {
    "Dockerfile": "tests/test_config_files.py::test_the_image_is_made_of_what_is_there",
    "haproxy.cfg": "tests/end_to_end/test_haproxy.py::test_the_example_for_haproxy_is_valid",
    "logrotate.conf": "tests/end_to_end/test_logrotate.py::test_p62_logrotate_renames_under_load",
    "popproxy.service": "tests/test_config_files.py::test_systemd_has_nothing_against_the_unit",
    "popproxy.toml": "tests/cli/test_config.py::test_the_example_is_valid",
    "prometheus-rules.yml": "tests/cli/test_status.py::test_prometheus_takes_the_examples",
    "prometheus.yml": "tests/cli/test_status.py::test_prometheus_takes_the_examples",
    "rsyslog.conf": "tests/end_to_end/test_rsyslog.py::test_the_example_for_rsyslog_is_valid",
}
"""A file in config/, and a test that reads it: by the file's name, or by a helper that does."""


def test_each_file_is_read_by_a_test_that_is_there() -> None:
    files = {str(path.relative_to(CONFIG)) for path in CONFIG.rglob("*") if path.is_file()}
    assert files == set(READ_BY), "name a test that reads the new file in READ_BY"
    for file, test in READ_BY.items():
        module, _, name = test.partition("::")
        source = (ROOT / module).read_text("utf-8")
        assert re.search(rf"^(async )?def {name}\(", source, re.MULTILINE), test
        helpers = (
            (ROOT / (helper.replace(".", "/") + ".py")).read_text("utf-8")
            for helper in re.findall(r"^from (tests\.support\.\w+) import", source, re.MULTILINE)
        )
        table = source.partition("READ_BY = {")[2].partition("\n}")[0]
        assert any(f'"{file}"' in text.replace(table, "") for text in (source, *helpers)), file


# The unit of systemd

UNIT = CONFIG / "popproxy.service"
EXPOSURE = 1.5
"""What `systemd-analyze security` may say: 0 is shut in, 10 is open. Versions differ a little."""


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """Give the unit with a program that is installed."""
    text = UNIT.read_text("utf-8")
    assert text.count("/opt/popproxy/bin/popproxy ") == 2
    copy = tmp_path / UNIT.name
    copy.write_text(text.replace("/opt/popproxy/bin/popproxy", command()))
    return copy


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    program = find("systemd-analyze")
    assert program
    return subprocess.run(
        [program, *arguments], capture_output=True, text=True, check=False, timeout=60
    )


@needs("systemd-analyze")
def test_systemd_has_nothing_against_the_unit(unit: Path) -> None:
    done = analyze("verify", unit)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    unit.write_text(unit.read_text().replace("Restart=on-failure", "Restart=on-tuesdays"))
    assert "on-tuesdays" in analyze("verify", unit).stderr, "it would say so"


@needs("systemd-analyze")
def test_the_unit_is_shut_in_as_the_guide_says(unit: Path) -> None:
    done = analyze(
        "security", "--offline=yes", f"--threshold={EXPOSURE * 10:.0f}", "--no-pager", unit
    )
    found = re.search(r"Overall exposure level for popproxy.service: ([\d.]+)", done.stdout)
    assert found, done.stderr
    assert done.returncode == 0, done.stdout
    assert float(found[1]) <= EXPOSURE
    guide = (ROOT / "popproxy/guide/operations.md").read_text("utf-8")
    told = re.search(r"popproxy.service: ([\d.]+)` with systemd (\d+)", guide)
    assert told
    assert float(told[1]) <= EXPOSURE
    if f"systemd {told[2]} " in analyze("--version").stdout:
        assert told[1] == found[1]


def test_the_unit_says_what_popproxy_can_do() -> None:
    unit = UNIT.read_text("utf-8")
    settings = dict(re.findall(r"^(\w+)=(.*)$", unit, re.MULTILINE))
    assert settings["Type"] == "notify", "notify-reload is refused by systemd before 253"
    assert settings["KillMode"] == "mixed", "a worker that is told twice ends at once"
    assert "$MAINPID" in unit
    verbs = re.findall(r"/opt/popproxy/bin/popproxy (\w+)(?: (\w+))?(.*)$", unit, re.MULTILINE)
    assert [(verb, below) for verb, below, _ in verbs] == [("run", ""), ("config", "check")]
    known = {name for option in popproxy.commands["run"].params for name in option.opts}
    assert set(re.findall(r"--[\w-]+", verbs[0][2])) <= known


# The image

DOCKERFILE = CONFIG / "Dockerfile"
KNOWN = re.compile(
    "ARG|CMD|COPY|ENTRYPOINT|ENV|EXPOSE|FROM|HEALTHCHECK|LABEL|RUN|STOPSIGNAL|USER|VOLUME|WORKDIR"
)


def instructions() -> list[tuple[str, str]]:
    """Read the instructions, each on one line."""
    lines = DOCKERFILE.read_text("utf-8").splitlines()
    text = "\n".join(line for line in lines if line and not line.startswith("#"))
    joined = re.sub(r"\s*\\\n\s*", " ", text)
    parts = [line.partition(" ") for line in joined.splitlines()]
    return [(name, rest.strip()) for name, _, rest in parts]


def test_the_image_is_made_of_what_is_there(tmp_path: Path) -> None:
    found = instructions()
    assert all(KNOWN.fullmatch(name) for name, _ in found), "ADD would fetch things"
    bases = {rest.partition(" AS ")[0] for name, rest in found if name == "FROM"}
    assert bases == {"python:3.13-slim"}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert "Programming Language :: Python :: 3.13" in project["classifiers"]
    from_tree = [rest.split() for name, rest in found if name == "COPY" and "--from=" not in rest]
    # What is copied is all that a build needs, and a build has all that popproxy needs.
    source = tmp_path / "source"
    source.mkdir()
    for *sources, target in from_tree:
        for one in sources:
            path = ROOT / one
            assert target.startswith("/source/")
            if path.is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(path, tmp_path / target.lstrip("/"), ignore=ignored)
            else:
                shutil.copy(path, tmp_path / target.lstrip("/") / path.name)
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=source,
        check=True,
        capture_output=True,
        timeout=120,
    )
    [wheel] = tmp_path.glob("*.whl")
    with ZipFile(wheel) as built:
        names = set(built.namelist())
    wanted = (path for path in (ROOT / "popproxy").rglob("*") if path.is_file())
    for path in wanted:
        if "__pycache__" not in path.parts:
            assert str(path.relative_to(ROOT)) in names


def test_the_image_runs_popproxy_as_nobody_in_particular() -> None:
    last = instructions()
    last = last[max(place for place, (name, _) in enumerate(last) if name == "FROM") :]
    told = dict(last)
    user, _, group = told["USER"].partition(":")
    assert int(user) > 0
    assert int(group) > 0
    [run] = [rest for name, rest in last if name == "RUN"]
    assert f"--uid {user} --gid {group}" in run
    assert f"groupadd --system --gid {group}" in run
    ports = {str(port) for scheme, port in LISTENER_PORTS.items() if scheme != "pop3+stls"}
    assert set(told["EXPOSE"].split()) == ports
    assert told["STOPSIGNAL"] == "SIGTERM"
    assert json.loads(told["ENTRYPOINT"]) == ["popproxy"], "as process 1, that signals reach it"
    verb, *options = json.loads(told["CMD"])
    known = {name for option in popproxy.commands[verb].params for name in option.opts}
    assert {option for option in options if option.startswith("-")} <= known
    for folder in json.loads(told["VOLUME"]):
        assert folder in run, "the user may write there"
