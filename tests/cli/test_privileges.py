from __future__ import annotations

import os
import pwd
import resource
import subprocess
import sys

import pytest

from popproxy.cli import privileges
from popproxy.cli.errors import CommandError
from tests.support.root import only_root


def pretend(monkeypatch: pytest.MonkeyPatch, uid: int) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    monkeypatch.setattr(os, "getuid", lambda: uid)


def test_p70_root_has_to_say_whom_to_become(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, 0)
    with pytest.raises(CommandError, match="started as root") as caught:
        privileges.wanted_identity("")
    assert caught.value.status == 2
    assert "--user NAME" in caught.value.hint
    assert "--user root" in caught.value.hint


def test_root_may_stay_root_on_purpose(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, 0)
    assert privileges.wanted_identity("root") is None


def test_root_becomes_whom_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, 0)
    nobody = privileges.wanted_identity("nobody")
    assert nobody is not None
    assert nobody.uid == pwd.getpwnam("nobody").pw_uid != 0


def test_others_stay_who_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, pwd.getpwnam("nobody").pw_uid)
    assert privileges.wanted_identity("") is None
    assert privileges.wanted_identity("nobody") is None
    with pytest.raises(CommandError, match="only root"):
        privileges.wanted_identity("root")


def test_an_unknown_user() -> None:
    with pytest.raises(CommandError, match="no user 'nobody-here'"):
        privileges.wanted_identity("nobody-here")


def test_nobody_to_become_changes_nothing() -> None:
    before = os.getresuid(), os.getresgid(), os.getgroups()
    with privileges.acting_as(None):
        pass
    privileges.become(None)
    assert (os.getresuid(), os.getresgid(), os.getgroups()) == before


def in_a_process(script: str) -> str:
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return result.stdout.strip()


_BECOME = """
import os
from popproxy.cli.privileges import acting_as, become, forbid_core_dumps, wanted_identity
identity = wanted_identity("nobody")
"""


@only_root
def test_p70_root_is_given_up_for_good() -> None:
    said = in_a_process(
        _BECOME
        + """
become(identity)
for call in (os.setuid, os.seteuid, os.setgid, os.setegid):
    try:
        call(0)
        print("root again by", call)
    except PermissionError:
        pass
print(os.getresuid() == (identity.uid,) * 3, os.getresgid() == (identity.gid,) * 3)
print(0 in os.getgroups())
"""
    )
    assert said.split() == ["True", "True", "False"]


@only_root
def test_acting_as_a_user_sees_with_that_users_eyes_and_ends() -> None:
    said = in_a_process(
        _BECOME
        + """
before = os.getresuid(), os.getresgid(), os.getgroups()
with acting_as(identity):
    print(os.access("/etc/shadow", os.R_OK), os.access("/", os.W_OK))
print(os.access("/etc/shadow", os.R_OK))
print((os.getresuid(), os.getresgid(), os.getgroups()) == before)
"""
    )
    assert said.split() == ["False", "False", "True", "True"]


@only_root
def test_a_user_that_can_be_root_again_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    identity = privileges.Identity("somebody", 65_000, 65_000, (65_000,), "/nonexistent")
    for name in ("setgroups", "setresgid", "setresuid"):
        monkeypatch.setattr(os, name, lambda *_: None)
    monkeypatch.setattr(os, "setuid", lambda _: None)
    with pytest.raises(CommandError, match="could be root again"):
        privileges.become(identity)


def test_without_the_right_to_it_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "setgroups", refuse)
    with pytest.raises(CommandError, match="cannot become somebody"):
        privileges.become(privileges.Identity("somebody", 65_000, 65_000, (), "/nonexistent"))


def test_p14_no_core_dumps() -> None:
    said = in_a_process(
        "import resource\n"
        "from popproxy.cli.privileges import forbid_core_dumps\n"
        "forbid_core_dumps()\n"
        "print(resource.getrlimit(resource.RLIMIT_CORE))"
    )
    assert said == "(0, 0)"
    assert resource.RLIMIT_CORE >= 0
