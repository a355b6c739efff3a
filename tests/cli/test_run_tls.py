"""What `popproxy run` does with settings of TLS when it starts, as a process."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from popproxy.tls.minting import AUTHORITY_LIFETIME, make_authority
from tests.support.proxy import Proxy, records
from tests.support.root import only_root
from tests.support.running import AS_ROOT, NOWHERE, answering, connected, run, started
from tests.support.waiting import until


@pytest.fixture
def upstream() -> Iterator[int]:
    """The port of a server."""
    with answering() as port:
        yield port


@pytest.mark.parametrize("option", ["--cert", "--upstream-ca", "--client-certificate"])
def test_files_of_tls_that_cannot_be_used_are_status_2(option: str, tmp_path: Path) -> None:
    file = tmp_path / "x.pem"
    file.write_text("no certificate\n")
    listen = ("--listen", "pop3s://127.0.0.1:0", "--upstream", "pop3s://127.0.0.1:9")
    result = run("run", *AS_ROOT, *listen, option, str(file), cwd=tmp_path)
    assert result.returncode == 2
    assert str(file) in result.stderr
    assert "listening" not in result.stderr
    assert "Traceback" not in result.stderr


def test_p34_an_authority_that_others_can_reach_is_status_2(tmp_path: Path) -> None:
    folder = tmp_path / "authority"
    argv = ("run", *AS_ROOT, "--listen", "pop3s://127.0.0.1:0", "--upstream", NOWHERE)
    with started(*argv, "--authority", str(folder), cwd=tmp_path / "home"):
        assert (folder / "authority.key").exists()
    (folder / "authority.key").chmod(0o644)
    result = run(*argv, "--authority", str(folder), cwd=tmp_path)
    assert result.returncode == 2
    assert "open to other users" in result.stderr
    assert f"\n  Close it with: chmod 600 {folder}" in result.stderr


@pytest.mark.parametrize("scheme", ["pop3s", "pop3+stls"])
def test_a_listener_of_tls_makes_the_authority_in_its_place(scheme: str, tmp_path: Path) -> None:
    home = tmp_path / "home"
    argv = ("run", *AS_ROOT, "--listen", f"{scheme}://127.0.0.1:0", "--upstream", NOWHERE)
    with started(*argv, cwd=home) as (_, port):
        assert f"listening on {scheme}://127.0.0.1:{port}" in (home / "stderr").read_text()
        until((home / ".local/share/popproxy/authority/authority.key").exists, "the key")
    data = tmp_path / "data"
    with started(*argv, cwd=home, XDG_DATA_HOME=str(data)):
        until((data / "popproxy/authority/authority.key").exists, "the key")


def test_p34_an_authority_that_ends_soon_is_warned_about(tmp_path: Path) -> None:
    home = tmp_path / "home"
    folder = tmp_path / "authority"
    folder.mkdir(0o700)
    then = datetime.now(UTC) - AUTHORITY_LIFETIME + timedelta(days=10)
    certificate, key = make_authority("ends soon", then)
    (folder / "authority.pem").write_bytes(certificate)
    (folder / "authority.key").touch(0o600)
    (folder / "authority.key").write_bytes(key)
    argv = ("run", *AS_ROOT, "--listen", "pop3s://127.0.0.1:0", "--upstream", NOWHERE)
    warning = f"the local authority in {folder} expires on"
    with started(*argv, "--authority", str(folder), cwd=home):
        until(lambda: warning in (home / "stderr").read_text(), "the warning")
        until(lambda: "popproxy ca renew" in (home / "stderr").read_text(), "the remedy")


@only_root
def test_p70_p34_the_authority_and_the_keys_are_the_users_that_root_becomes() -> None:
    nobody = pwd.getpwnam("nobody")
    with TemporaryDirectory(prefix="popproxy-test-") as name:
        folder = Path(name)
        os.chown(folder, nobody.pw_uid, nobody.pw_gid)
        argv = ("--user", "nobody", "--listen", "pop3s://127.0.0.1:0", "--upstream", NOWHERE)
        options = ("--authority", "ca", "--tls-keys", "x.SECRET")
        with started("run", *argv, *options, cwd=folder):
            files = [folder / "ca" / "authority.key", folder / "x.SECRET"]
            assert [file.stat().st_uid for file in files] == [nobody.pw_uid] * 2


def test_p32_p39_p16_what_weakens_tls_is_said_at_the_start(upstream: int, tmp_path: Path) -> None:
    keys = tmp_path / "keys.SECRET"
    options = ("--insecure", "--client-tls-minimum", "1.0", "--tls-keys", keys, "--quiet")
    log = tmp_path / "log.jsonl"
    with Proxy(tmp_path / "home", upstream, *options, "--jsonl", log) as proxy:
        said = proxy.stderr.decode()
        assert "warning: route" in said
        assert "--insecure: nobody verifies that 127.0.0.1" in said
        assert "clients may speak TLS 1.0" in said
        assert f"written to {keys}" in said
        assert keys.stat().st_mode & 0o777 == 0o600
        connected(proxy.port).close()
        until(lambda: log.exists() and b"session.end" in log.read_bytes(), "the session's end")
    first = records(log)[0]
    assert first["event"]["action"] == "session.start"
    assert "the keys of TLS connections are written to a file" in first["notice"]


def test_nothing_is_warned_about_in_an_ordinary_run(upstream: int, tmp_path: Path) -> None:
    with Proxy(tmp_path / "home", upstream, "--quiet", "--jsonl", "log.jsonl") as proxy:
        said = [line for line in proxy.stderr.decode().splitlines() if "stays root" not in line]
        assert said == [f"listening on pop3://127.0.0.1:{proxy.port}"]
        assert not (proxy.home / ".local").exists(), "no authority is made where no TLS is spoken"
