"""The rigs for TLS: a client that fetches from a server it must not trust shows nothing."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.certificates import issue
from tests.support.clients import Security
from tests.support.dovecot import Dovecot
from tests.support.mails import DOTS, MAILS, digests
from tests.support.programs import needs
from tests.support.tls_clients import SPEAKERS, Fetch, Speaker, account_at

SPOKEN = [
    pytest.param(speaker, security, id=f"{speaker.name}-{security}", marks=needs(*speaker.programs))
    for speaker in SPEAKERS
    for security in speaker.securities
]
REFUSING = [
    spoken for spoken in SPOKEN if "plain" not in spoken.values and "mutt" not in str(spoken.id)
]
"""mutt is left out: it asks the person before it whether to go on."""
REFUSAL = re.compile("certificate|ssl|tls", re.IGNORECASE)


@needs("dovecot")
@pytest.mark.parametrize(("speaker", "security"), SPOKEN)
def test_a_client_fetches_from_dovecot_in_each_way_it_knows(
    speaker: Speaker, security: Security, fetch: Fetch, dovecot: Dovecot, tmp_path: Path
) -> None:
    user = dovecot.user(MAILS)
    fetched = fetch(speaker, account_at(dovecot, speaker, security, user, tmp_path / "home"))
    assert digests(fetched.messages) == digests(mail.content for mail in MAILS)
    logins = [line for line in dovecot.log.splitlines() if f"Login: user=<{user}>" in line]
    assert logins
    for login in logins:
        assert (", TLS" in login) == (security != "plain")


@needs("dovecot")
@pytest.mark.parametrize(("speaker", "security"), REFUSING)
def test_a_client_refuses_a_server_whose_authority_it_does_not_know(
    speaker: Speaker, security: Security, fetch: Fetch, dovecot: Dovecot, tmp_path: Path
) -> None:
    user = dovecot.user([DOTS])
    account = account_at(dovecot, speaker, security, user, tmp_path / "home")
    with pytest.raises(Exception, match=REFUSAL):
        fetch(speaker, replace(account, ca_file=issue(tmp_path).ca_file))
    assert f"Login: user=<{user}>" not in dovecot.log


@needs("dovecot")
@pytest.mark.parametrize(("speaker", "security"), REFUSING)
def test_a_client_refuses_a_server_under_another_name(
    speaker: Speaker, security: Security, fetch: Fetch, dovecot: Dovecot, tmp_path: Path
) -> None:
    user = dovecot.user([DOTS])
    account = account_at(dovecot, speaker, security, user, tmp_path / "home")
    with pytest.raises(Exception, match=REFUSAL):
        fetch(speaker, replace(account, host=dovecot.host))
    assert f"Login: user=<{user}>" not in dovecot.log
