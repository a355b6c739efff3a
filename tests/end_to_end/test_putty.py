"""A session typed by hand through popproxy, and the PuTTY log of it.

The conversation has the shape of the first logs that people made of POP3 with PuTTY: user, pass,
stat, list, retr 1, retr 2, dele 1, dele 2, quit, and mail with what a log easily spoils.
"""

from __future__ import annotations

import contextlib
import os
import pty
import re
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from popproxy.formats import jsonl
from popproxy.records import ResponseRecord
from popproxy.tools import captures
from tests.support.leaks import PASSWORD, leaks
from tests.support.programs import needs
from tests.support.proxy import Proxy, wait_for_sessions_to_end
from tests.support.recording import of
from tests.support.sockets import Upstream, receive
from tests.support.waiting import PATIENCE, until

HEADER = re.compile(
    rb"=~=~=~=~=~=~=~=~=~=~=~= PuTTY log"
    rb" \d{4}\.\d\d\.\d\d \d\d:\d\d:\d\d =~=~=~=~=~=~=~=~=~=~=~=\r\n"
)
MASK = b"********"


def _message(number: int) -> bytes:
    seam = f"”—=_Leaf_{number:04}_01CC968C”"
    return (
        "+OK 2859 octets\r\n"
        "Return-Path: ada@example.org\r\n"
        "Received: from Harbour ([192.0.2.17])\r\n\tby HOME\r\n"
        " ; Sat, 29 Oct 2011 22:43:41 +0530\r\n"
        "From: “Ada” <ada@example.org>\r\n"
        f"Subject: Kettle {number}\r\n"
        f"Content-Type: multipart/alternative;\r\n\tboundary={seam}\r\n"
        f"X-Puzzle: {'Hxg= BFmV Bs1t ' * 30};{{DFC5DD2E}};;\r\n"
        "\r\n"
        "This message has two forms.\r\n"
        "\r\n"
        f"{seam}\r\nContent-Type: text/html\r\n\r\n"
        "<html xmlns:v=3D”urn:x” =\r\n"
        "<!–\r\n/* Font Definitions */\r\n"
        "{font-family:”Cambria Math”;\r\n"
        "..MsoSomething\r\n"
        "..\r\n"
        "+OK 2859 octets\r\n"
        "-ERR not a response\r\n"
        "retr 1\r\n"
        "quit\r\n"
        f"<p>Kettle {number}</p>\r\n"
        f"{seam}–\r\n"
        "\r\n"
        ".\r\n"
    ).encode()


GREETING = b"+OK POP3 Server Ready\r\n"
CONVERSATION = [
    (b"user mail@domain.example\r\n", b"+OK Send your password\r\n"),
    (b"pass " + PASSWORD.encode() + b"\r\n", b"+OK Mailbox locked and ready\r\n"),
    (b"stat\r\n", b"+OK 2 5718\r\n"),
    (b"list\r\n", b"+OK 2 messages (5718 octets)\r\n1 2859\r\n2 2859\r\n.\r\n"),
    (b"retr 1\r\n", _message(1)),
    (b"retr 2\r\n", _message(2)),
    (b"dele 1\r\n", b"+OK msg deleted\r\n"),
    (b"dele 2\r\n", b"+OK msg deleted\r\n"),
    (b"quit\r\n", "+OK POP3 server saying goodbye…\r\n".encode()),
]
LOG = GREETING + b"".join(command + response for command, response in CONVERSATION).replace(
    PASSWORD.encode(), MASK
)
"""What a PuTTY log of it holds behind the header."""


def _serve(upstream: Upstream, failures: list[str]) -> None:
    """Answer one session; commands that differ are noted."""
    with contextlib.closing(upstream.accept()) as server:
        server.sendall(GREETING)
        for expected, response in CONVERSATION:
            if (command := receive(server, len(expected))) != expected:
                failures.append(f"{expected!r} came as {command!r}")
            server.sendall(response)


@pytest.fixture
def served() -> Iterator[Upstream]:
    failures: list[str] = []
    with Upstream() as upstream:
        server = threading.Thread(target=_serve, args=(upstream, failures), daemon=True)
        server.start()
        yield upstream
        server.join(PATIENCE)
    assert failures == []


class _Terminal:
    """A person at a terminal who runs a program: reads what it shows, types when it is time."""

    def __init__(self, *command: str) -> None:
        self._ours, its = pty.openpty()
        self._process = subprocess.Popen(
            command,
            stdin=its,
            stdout=its,
            stderr=its,
            start_new_session=True,
            env={"PATH": os.environ["PATH"], "TERM": "dumb", "LC_ALL": "C.UTF-8"},
        )
        os.close(its)
        os.set_blocking(self._ours, False)
        self.shown = b""
        self.screen = b""  # all that was ever shown

    def wait_for(self, text: bytes) -> None:
        """Wait until the screen shows this, from where the last wait ended."""

        def look() -> bool:
            # EIO is how a terminal says that its program has gone.
            with contextlib.suppress(BlockingIOError, OSError):
                while came := os.read(self._ours, 65536):
                    self.shown += came
                    self.screen += came
            return text in self.shown

        until(look, f"{text!r} on the screen")
        self.shown = self.shown.partition(text)[2]

    def type(self, line: bytes) -> None:
        """Type a line and Enter."""
        os.write(self._ours, line + b"\r")

    def close(self) -> None:
        """Wait for the program's end."""
        try:
            self._process.wait(PATIENCE)
        finally:
            self._process.kill()
            self._process.wait()
            os.close(self._ours)


def _type_conversation(terminal: _Terminal) -> None:
    terminal.wait_for(GREETING.strip())
    for command, response in CONVERSATION:
        terminal.type(command.strip())
        # A terminal echoes what is typed; what comes behind it is the response.
        terminal.wait_for(command.strip())
        terminal.wait_for(response.split(b"\r\n")[-2])
    terminal.wait_for(b"closed by foreign host")


def _log_of_one_session(proxy: Proxy) -> tuple[bytes, bytes]:
    """Give the PuTTY log, parted into its header and the rest."""
    (path,) = proxy.home.glob("putty-*.log")
    log = path.read_bytes()
    header = HEADER.match(log)
    assert header
    return header[0], log[header.end() :]


@needs("telnet")
@pytest.mark.parametrize("mode", ["printable", "all"])
def test_a_session_typed_with_telnet_is_logged_as_putty_would(
    served: Upstream, tmp_path: Path, mode: str
) -> None:
    outputs = ("--putty", "putty-&S.log", "--putty-mode", mode, "--jsonl", "log.jsonl")
    with Proxy(tmp_path / "proxy", served.port, *outputs) as proxy:
        terminal = _Terminal("telnet", proxy.host, str(proxy.port))
        _type_conversation(terminal)
        terminal.close()
        wait_for_sessions_to_end(proxy.home / "log.jsonl")
        assert proxy.stop() == 0
    _, log = _log_of_one_session(proxy)
    if mode == "all":
        assert log == LOG
    assert log.splitlines() == LOG.splitlines()
    assert leaks(proxy.outputs()) == []
    _is_read_as_what_passed(terminal.screen, "terminal", proxy)


def _is_read_as_what_passed(log: bytes, kind: str, proxy: Proxy) -> None:
    """Import what the program itself logged, and compare with what popproxy recorded."""
    path = proxy.home / "own.log"
    path.write_bytes(log)
    assert captures.recognise(log) == kind
    read, seen = (
        [
            (record.pop3.command, record.pop3.status, record.pop3.lines)
            for record in of(captures.read(str(one)), ResponseRecord)
        ]
        for one in (path, proxy.home / "log.jsonl")
    )
    assert read == seen
    assert len(read) == len(CONVERSATION)
    told = b"".join(map(jsonl.encode, captures.read(str(path))))
    assert leaks({"imported": told}) == []


class _Desktop:
    """A screen without a person: Xvfb, and a keyboard that `xdotool` presses."""

    def __init__(self, home: Path) -> None:
        ready, told = os.pipe()
        self._server = subprocess.Popen(
            ["Xvfb", "-displayfd", str(told), "-screen", "0", "1024x768x24", "-nolisten", "tcp"],
            pass_fds=[told],
            stderr=subprocess.DEVNULL,
        )
        os.close(told)
        with os.fdopen(ready) as file:
            display = file.readline().strip()
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "DISPLAY": f":{display}",
            "LC_ALL": "C.UTF-8",
        }

    def press(self, *arguments: str) -> str:
        """Run xdotool, which waits as long as it is told to."""
        return subprocess.run(
            ["xdotool", *arguments],
            env=self.environment,
            check=True,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        ).stdout

    def close(self) -> None:
        """Switch it off."""
        self._server.terminate()
        self._server.wait(PATIENCE)


@pytest.fixture
def desktop(tmp_path: Path) -> Iterator[_Desktop]:
    screen = _Desktop(tmp_path)
    yield screen
    screen.close()


def _ends_with(path: Path, text: bytes) -> bool:
    return path.exists() and path.read_bytes().endswith(text)


@needs("putty", "Xvfb", "xdotool")
def test_in_all_mode_the_log_is_what_putty_itself_logs_but_for_the_mask(
    served: Upstream, tmp_path: Path, desktop: _Desktop
) -> None:
    own = tmp_path / "own.log"
    outputs = ("--putty", "putty-&S.log", "--putty-mode", "all", "--jsonl", "log.jsonl")
    with Proxy(tmp_path / "proxy", served.port, *outputs) as proxy:
        port = str(proxy.port)
        putty = subprocess.Popen(
            ["putty", "-raw", "-P", port, "-sessionlog", str(own), proxy.host],
            env=desktop.environment,
        )
        try:
            window = desktop.press("search", "--sync", "--onlyvisible", "--class", "putty").split()
            # Nobody manages windows here: keys go to the window under the pointer.
            desktop.press("mousemove", "--window", window[0], "100", "100")
            shown = GREETING
            for command, response in CONVERSATION:
                until(partial(_ends_with, own, shown), "the response in PuTTY's own log")
                desktop.press("type", command.decode().strip())
                desktop.press("key", "Return")
                shown = response
            assert putty.wait(PATIENCE) == 0
        finally:
            putty.kill()
            putty.wait()
        wait_for_sessions_to_end(proxy.home / "log.jsonl")
        assert proxy.stop() == 0
    _, ours = _log_of_one_session(proxy)
    theirs = own.read_bytes()
    header = HEADER.match(theirs)
    assert header
    assert ours == theirs[header.end() :].replace(PASSWORD.encode(), MASK)
    _is_read_as_what_passed(theirs, "putty", proxy)
