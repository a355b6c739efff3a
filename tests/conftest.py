"""Rules for all tests: what may be skipped, and what runs only when asked for."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator

import pytest
from hypothesis import HealthCheck, settings

from popproxy.diagnostics import on_first_use
from tests.support.programs import missing

SKIPS_ARE_FAILURES = (
    os.environ.get("CI", "").lower() == "true" or os.environ.get("POPPROXY_NO_SKIPS") == "1"
)
"""In CI every program is installed, so that a skip there means that something was not tested."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--soak`."""
    parser.addoption("--soak", action="store_true", help="run the long tests (gigabytes), too")


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers, and let no property test fail because the machine is busy."""
    # A script's background has it ignored, and so would every program that a test interrupts.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("busy")
    config.addinivalue_line("markers", "needs(*programs): skipped where a program is missing")
    config.addinivalue_line("markers", "soak: takes minutes; runs with --soak only")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect the soak tests unless they were asked for; deselecting is not skipping."""
    if config.getoption("--soak"):
        return
    soak = [item for item in items if item.get_closest_marker("soak")]
    if soak:
        config.hook.pytest_deselected(items=soak)
        items[:] = [item for item in items if not item.get_closest_marker("soak")]


@pytest.fixture(autouse=True)
def _no_set_up_left() -> Generator[None, None, None]:
    """Let no verb that a test ran configure the diagnostics of a later test."""
    yield
    on_first_use(lambda: None)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose programs are missing."""
    needed = [name for mark in item.iter_markers("needs") for name in mark.args]
    reason = missing(tuple(dict.fromkeys(needed)))
    if reason:
        pytest.skip(reason)


def _refuse(report: pytest.TestReport | pytest.CollectReport) -> None:
    if SKIPS_ARE_FAILURES and report.outcome == "skipped" and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"skipped, and in CI a skip is a failure: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a test's skip into a failure where skips are forbidden."""
    report = yield
    _refuse(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """The same for a whole module that skipped itself."""
    report = yield
    _refuse(report)
    return report
