"""Mail clients, each run as its users run it, in a home of its own.

A client fetches every mail of an account and leaves the maildrop as it was, so that the same
account can be fetched twice. Passwords go in by configuration files with mode 0600, never as
arguments. Under TLS a client trusts the authority it is given and nothing else, and checks that the
certificate is for the name it connects to.
"""

from __future__ import annotations

import contextlib
import os
import poplib
import pty
import re
import shlex
import ssl
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from unittest import mock

from tests.support.leaks import PASSWORD

Security = Literal["plain", "stls", "tls"]
"""How a client speaks: in the clear, in the clear and then TLS by STLS, or TLS from the start."""

SECONDS = 60.0
"""Until a client that does not end by itself is given up."""


@dataclass(frozen=True, kw_only=True)
class Account:
    """Where and as whom to fetch."""

    host: str
    port: int
    user: str
    home: Path
    """An empty directory of the client's own."""
    mechanism: str = ""
    """How to log in, in the client's own spelling; empty for the client's own choice."""
    password: str = PASSWORD
    security: Security = "plain"
    ca_file: Path = Path("/dev/null")
    """The authority that the client trusts; the default trusts none."""
    truncated: bool = False
    """Whether the server ends TLS without saying so (no close_notify), and the client bears it."""


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """What a client brought home."""

    messages: list[bytes]
    """As the client stored them; in any order, since some clients lose it."""
    output: bytes
    """All that the client printed."""


Client = Callable[[Account], Fetched]


def private_file(path: Path, text: str) -> Path:
    """Write a file that only its owner may read, from the first moment on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    return path


def environment(account: Account) -> dict[str, str]:
    """Give what a client finds in its environment: a home of its own, and nothing of ours."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    return {**kept, "HOME": str(account.home), "LC_ALL": "C.UTF-8", "TERM": "xterm"}


def _run(account: Account, *command: str | Path) -> bytes:
    """Run a client to its end and give what it printed."""
    ended = subprocess.run(
        [*command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment(account),
        cwd=account.home,
        timeout=SECONDS,
        check=False,
    )
    shown = ended.stdout.decode(errors="replace")
    assert ended.returncode == 0, f"{command[0]} ended with {ended.returncode}:\n{shown}"
    return ended.stdout


def _maildir(account: Account) -> Path:
    maildir = account.home / "inbox"
    for folder in ("cur", "new", "tmp"):
        (maildir / folder).mkdir(parents=True)
    return maildir


def _of_maildir(maildir: Path, output: bytes) -> Fetched:
    files = [path for folder in ("new", "cur") for path in (maildir / folder).iterdir()]
    return _of_files(files, output)


def _delivery_agent(account: Account) -> tuple[Path, Path]:
    """Make a folder, and a program that stores what it reads in a new file there."""
    folder = account.home / "fetched"
    folder.mkdir()
    agent = private_file(
        account.home / "deliver",
        f"#!/bin/sh\nexec cat > $(mktemp {shlex.quote(str(folder))}/XXXXXXXX)\n",
    )
    agent.chmod(0o700)
    return folder, agent


def _of_files(files: list[Path], output: bytes) -> Fetched:
    return Fetched(messages=[path.read_bytes() for path in files], output=output)


def curl(account: Account) -> Fetched:
    """LIST, then one transfer a mail on the same connection."""
    login = f'login-options = "AUTH={account.mechanism}"\n' if account.mechanism else ""
    scheme = "pop3s" if account.security == "tls" else "pop3"
    url = f"{scheme}://{account.host}:{account.port}/"
    common = (
        f'silent\nshow-error\nuser = "{account.user}:{account.password}"\n{login}'
        f'cacert = "{account.ca_file}"\n'
    )
    if account.security == "stls":
        common += "ssl-reqd\n"
    listing = _run(
        account, "curl", "-K", private_file(account.home / "list", f'{common}url = "{url}"\n')
    )
    transfers = ""
    files = []
    for line in listing.split(b"\r\n"):
        if number := line.partition(b" ")[0].decode():
            files.append(account.home / f"{number}.eml")
            transfers += f'url = "{url}{number}"\noutput = "{files[-1]}"\n'
    return _of_files(
        files,
        listing
        + _run(account, "curl", "-K", private_file(account.home / "retr", common + transfers)),
    )


def fetchmail(account: Account) -> Fetched:
    """Hand each mail to a delivery agent that writes it to a file."""
    folder, agent = _delivery_agent(account)
    login = f"auth {account.mechanism} " if account.mechanism else ""
    # "tls1.2+" insists on STLS where "ssl" does not ask for TLS from the start.
    protocol = {"plain": "''", "stls": "'tls1.2+'", "tls": "'auto' ssl"}[account.security]
    configuration = private_file(
        account.home / "fetchmailrc",
        f'set invisible\nset pidfile "{account.home}/fetchmail.pid"\n'
        f"poll {account.host} service {account.port} protocol POP3 {login}\n"
        f'  user "{account.user}" password "{account.password}"\n'
        f'  sslproto {protocol} sslcertck sslcertfile "{account.ca_file}"\n'
        f'  no rewrite fetchall keep pass8bits mda "{agent}"\n',
    )
    output = _run(account, "fetchmail", "-f", configuration, "--nodetach", "-v", "-v")
    stored = _of_files(list(folder.iterdir()), output)
    return Fetched(messages=[uncut(message) for message in stored.messages], output=output)


def uncut(message: bytes) -> bytes:
    """Join the lines that fetchmail 6.4 cut after 8,191 octets.

    It cuts by NUL, an octet left over in its buffer, LF. The octet is another one in each run. One
    run of 256 has a CR there, which fetchmail takes away with those of the line ends.
    """
    return re.sub(rb"\0.?\n", b"", message, flags=re.DOTALL)


def mpop(account: Account) -> Fetched:
    """Deliver into a Maildir; commands are pipelined if the server offers it."""
    maildir = _maildir(account)
    tls = f"tls on\ntls_trust_file {account.ca_file}\n"
    protection = {
        "plain": "tls off\n",
        "stls": f"{tls}tls_starttls on\n",
        "tls": f"{tls}tls_starttls off\n",
    }[account.security]
    configuration = private_file(
        account.home / "mpoprc",
        f"account here\nhost {account.host}\nport {account.port}\nuser {account.user}\n"
        f"password {account.password}\n{protection}auth {account.mechanism or 'on'}\n"
        f"keep on\nreceived_header off\ndelivery maildir {maildir}\n",
    )
    return _of_maildir(maildir, _run(account, "mpop", "-C", configuration, "here"))


def getmail(account: Account) -> Fetched:
    """Hand each mail to a delivery agent: getmail delivers to a Maildir itself, but not as root.

    It knows no STLS.
    """
    kinds = {"plain": "SimplePOP3Retriever", "tls": "SimplePOP3SSLRetriever"}
    trust = f"ca_certs = {account.ca_file}\n" if account.security == "tls" else ""
    folder, agent = _delivery_agent(account)
    apop = f"use_apop = {account.mechanism == 'APOP'}\n"
    configuration = private_file(
        account.home / "getmail" / "getmailrc",
        f"[retriever]\ntype = {kinds[account.security]}\n"
        f"server = {account.host}\nport = {account.port}\n{trust}"
        f"username = {account.user}\npassword = {account.password}\n{apop}"
        f"[destination]\ntype = MDA_external\npath = {agent}\nallow_root_commands = true\n"
        "[options]\nread_all = true\ndelete = false\nreceived = false\ndelivered_to = false\n",
    )
    output = _run(account, "getmail", "--getmaildir", configuration.parent, "--trace")
    return _of_files(list(folder.iterdir()), output)


def mutt(account: Account) -> Fetched:
    """On a terminal, fetch the maildrop into a Maildir."""
    maildir = _maildir(account)
    login = f'set pop_authenticators = "{account.mechanism}"\n' if account.mechanism else ""
    scheme = "pops" if account.security == "tls" else "pop"
    stls = "yes" if account.security == "stls" else "no"
    configuration = private_file(
        account.home / "muttrc",
        f"set pop_host = '{scheme}://{account.user}@{account.host}:{account.port}/'\n"
        f"set pop_pass = '{account.password}'\n{login}set spoolfile = {maildir}\n"
        f"set folder = {account.home}\nset tmpdir = {account.home}\n"
        f"set pop_last = no\nset pop_delete = no\nset ssl_starttls = {stls}\n"
        f"set ssl_force_tls = {stls}\nset ssl_ca_certificates_file = {account.ca_file}\n"
        "set mark_old = no\nset move = no\nset quit = yes\n"
        'push "<fetch-mail><exit>"\n',
    )
    command = ["mutt", "-n", "-F", str(configuration), "-f", str(maildir)]
    return _of_maildir(maildir, _run_on_terminal(account, command))


def _run_on_terminal(account: Account, command: list[str]) -> bytes:
    """Run a program that wants a terminal, and give what it drew."""
    ours, its = pty.openpty()
    screen = bytearray()
    with subprocess.Popen(
        command,
        stdin=its,
        stdout=its,
        stderr=its,
        env=environment(account),
        cwd=account.home,
        start_new_session=True,
    ) as process:
        os.close(its)
        watchdog = threading.Timer(SECONDS, process.kill)
        watchdog.start()
        # A terminal whose last user is gone answers EIO.
        with contextlib.suppress(OSError):
            while drawn := os.read(ours, 65536):
                screen += drawn
        process.wait()
        watchdog.cancel()
    os.close(ours)
    shown = screen.decode(errors="replace")
    assert process.returncode == 0, f"{command[0]} ended with {process.returncode}:\n{shown}"
    return bytes(screen)


def python_poplib(account: Account) -> Fetched:
    """Python's own client; its limit on lines, 2,048 octets, is lifted for our mails."""
    said = []
    messages = []
    with mock.patch.object(poplib, "_MAXLINE", 1 << 20):
        session = _poplib_session(account)
        with contextlib.ExitStack() as at_the_end:
            at_the_end.callback(_close, session)
            said.append(session.getwelcome())
            if account.security == "stls":
                said.append(session.stls(_trust(account)))
            if account.mechanism == "APOP":
                said.append(session.apop(account.user, account.password))
            else:
                said += [session.user(account.user), session.pass_(account.password)]
            count, _ = session.stat()
            for number in range(1, count + 1):
                status, lines, _ = session.retr(number)
                said.append(status)
                messages.append(b"".join(line + b"\r\n" for line in lines))
            said.append(session.quit())
    return Fetched(messages=messages, output=b"\n".join(said))


def _close(session: poplib.POP3) -> None:
    # Where a handshake failed, poplib closes what is closed already.
    with contextlib.suppress(OSError):
        session.close()


def _trust(account: Account) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=account.ca_file)


def _poplib_session(account: Account) -> poplib.POP3:
    if account.security == "tls":
        return poplib.POP3_SSL(account.host, account.port, timeout=SECONDS, context=_trust(account))
    return poplib.POP3(account.host, account.port, timeout=SECONDS)


@dataclass(frozen=True, kw_only=True)
class Way:
    """One client with one way to log in."""

    name: str
    client: Client
    program: str | None
    mechanism: str = ""
    """Empty: the client chooses."""


def _ways(
    name: str,
    client: Client,
    program: str | None,
    mechanisms: str,
) -> list[Way]:
    return [
        Way(name=name, client=client, program=program, mechanism=mechanism)
        for mechanism in ("", *mechanisms.split())
    ]


WAYS = [
    *_ways("curl", curl, "curl", "PLAIN LOGIN CRAM-MD5"),
    *_ways("fetchmail", fetchmail, "fetchmail", "password cram-md5"),
    *_ways("mpop", mpop, "mpop", "user plain login cram-md5 digest-md5 scram-sha-256"),
    *_ways("getmail", getmail, "getmail", "APOP"),
    *_ways("mutt", mutt, "mutt", "user apop plain cram-md5 scram-sha-256"),
    *_ways("poplib", python_poplib, None, "APOP"),
]
"""Each client with each login that it knows and Dovecot offers."""
