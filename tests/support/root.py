"""Tests that only root can run, such as giving root up."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar

Test = TypeVar("Test", bound=Callable[..., None])

IS_ROOT = os.geteuid() == 0


def only_root(test: Test) -> Test | None:
    """Leave a test out where it cannot run: a skip counts as a failure in CI, and rightly so.

    Containers of tests run as root; whoever is not root has no root to give up.
    """
    return test if IS_ROOT else None
