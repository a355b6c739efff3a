"""The nine pairings: a client that speaks in one way, a server that is spoken to in another.

Whatever the pair, the client fetches what it fetches directly (see `test_tls_rig.py`), the capture
is complete, and no output holds the password.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.clients import Security
from tests.support.dovecot import Dovecot
from tests.support.pairings import fetch_through
from tests.support.programs import needs
from tests.support.tls_clients import EVERY_WAY, SPEAKERS, Fetch


@needs("dovecot", *(program for speaker in SPEAKERS for program in speaker.programs))
@pytest.mark.parametrize("theirs", EVERY_WAY)
@pytest.mark.parametrize("mine", EVERY_WAY)
def test_every_client_fetches_the_same_however_both_legs_speak(
    mine: Security, theirs: Security, fetch: Fetch, dovecot: Dovecot, tmp_path: Path
) -> None:
    fetch_through(dovecot, SPEAKERS, (mine, theirs), fetch, tmp_path)
