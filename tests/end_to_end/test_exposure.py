"""Who can read what popproxy writes (P69), and where its clients can have it connect to (P67)."""

from __future__ import annotations

import stat
from pathlib import Path

from popproxy.relay.proxy_header import write_header
from tests.support.proxy import Proxy
from tests.support.sockets import Upstream, pass_through

OUTPUTS = (
    *("--jsonl", "logs/all.jsonl", "--text", "logs/text/all.txt"),
    *("--pcapng", "logs/all.pcapng", "--putty", "logs/putty/&S.log"),
    *("--tls-keys", "keys/all.SECRET", "--chain-key", "keys/chain.pem"),
    *("--status-socket", "run/status.sock", "--syslog", "syslog+tcp://127.0.0.1:9"),
)


def test_p69_whatever_is_made_is_its_owners_alone_under_a_umask_that_forbids_nothing(
    tmp_path: Path,
) -> None:
    open_to_all = ("sh", "-c", 'umask 0 && exec "$@"', "sh")
    home = tmp_path / "proxy"
    for folder in ("keys", "run"):
        (home / folder).mkdir(parents=True, mode=0o700)
    with Upstream() as upstream:
        with Proxy(home, upstream.port, *OUTPUTS, prefix=open_to_all) as proxy:
            upstream.session(proxy.port).log_in().quit()
            found = _modes(home)
            assert proxy.stop() == 0
        found |= _modes(home)
    wide = {name: oct(mode) for name, mode in found.items() if mode & 0o077}
    assert wide == {}
    kinds = {Path(name).suffix for name in found}
    assert {".jsonl", ".txt", ".pcapng", ".log", ".SECRET", ".pem", ".sock"} <= kinds


def _modes(home: Path) -> dict[str, int]:
    return {
        str(path.relative_to(home)): stat.S_IMODE(path.lstat().st_mode)
        for path in home.rglob("*")
        if not path.is_symlink()
    }


def test_p67_no_word_of_a_client_or_balancer_chooses_the_upstream(tmp_path: Path) -> None:
    with Upstream() as upstream, Upstream() as other:
        options = ("--proxy-from", "127.0.0.0/8")
        with Proxy(tmp_path / "proxy", upstream.port, *options) as proxy:
            elsewhere = ("127.0.0.1", other.port)
            client = upstream.connect(proxy.port)
            client.sendall(write_header("v1", ("127.0.0.1", 1234), elsewhere))
            server = upstream.accept()
            pass_through(server, client, b"+OK ready\r\n")
            place = b"127.0.0.1:%d" % other.port
            for line in (
                b"USER bo@%s\r\n",
                b"USER bo#%s\r\n",
                b"XCLIENT ADDR=%s\r\n",
                b"PROXY TCP4 %s\r\n",
                b"CONNECT %s HTTP/1.1\r\n",
            ):
                pass_through(client, server, line % place)
                pass_through(server, client, b"-ERR\r\n")
            client.close()
            server.close()
            assert proxy.stop() == 0
        assert not other.asked()
