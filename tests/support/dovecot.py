"""Dovecot, started by the tests on loopback from a configuration of their own.

It speaks POP3 on one port, in the clear and by STLS, and TLS from the start on another. Everything
lies in one temporary directory: configuration, certificate, passwords, sockets, mail. Dovecot runs
as a foreground child and is ended by its process id. Started by root it drops to the users that
Debian's package made and reads mail as `nobody`; started by anybody else it stays that user.
"""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from itertools import count
from pathlib import Path
from types import MappingProxyType

from tests.support.certificates import Certificates, issue
from tests.support.leaks import PASSWORD
from tests.support.mails import Mail
from tests.support.ports import free_ports, greets
from tests.support.programs import find
from tests.support.waiting import PATIENCE, until

MECHANISMS = "plain login cram-md5 digest-md5 scram-sha-1 scram-sha-256 apop"
"""What this Dovecot offers; APOP is listed with the SASL mechanisms in its configuration."""

_CONFIGURATION = """\
protocols = pop3
listen = 127.0.0.1
base_dir = {root}/run
state_dir = {root}/state
log_path = {root}/dovecot.log
ssl = yes
ssl_cert = <{chain_file}
ssl_key = <{key_file}
disable_plaintext_auth = no
auth_mechanisms = {mechanisms}
auth_failure_delay = 0
mail_max_userip_connections = 0
default_internal_user = {internal_user}
default_internal_group = {internal_group}
default_login_user = {login_user}
first_valid_uid = 1
mail_location = maildir:~/Maildir
protocol pop3 {{
  rawlog_dir = %h/rawlog
}}
passdb {{
  driver = passwd-file
  args = scheme=PLAIN username_format=%u {root}/passwords/%u
}}
userdb {{
  driver = static
  args = uid={mail_uid} gid={mail_gid} home={root}/home/%u
}}
service anvil {{
  chroot =
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service pop3-login {{
  chroot =
  inet_listener pop3 {{
    port = {port}
  }}
  inet_listener pop3s {{
    port = {tls_port}
  }}
  inet_listener pop3_behind_proxy {{
    port = {proxy_port}
    haproxy = yes
  }}
}}
haproxy_trusted_networks = 127.0.0.0/8
service stats {{
  chroot =
}}
"""
_TRUSTS = "login_trusted_networks = 127.0.0.0/8\n"
"""Whoever connects from there may say who the client is (XCLIENT), and counts as under TLS."""


class Dovecot:
    """A running Dovecot.

    Attributes:
        host: Where it listens.
        port: Where it listens for POP3, which may go on under TLS by STLS.
        tls_port: Where it listens for TLS from the start.
        proxy_port: Where it wants a PROXY header, and then POP3 as on `port`.
        ca_file: The certificate of the authority that signed its certificate.
        truncates: Whether it ends TLS without saying so.
        logins: How clients have to log in where their own choice in the clear fails.
    """

    host = "127.0.0.1"
    truncates = False
    logins: Mapping[str, str] = MappingProxyType({})

    def __init__(self, *, trusts: bool = False) -> None:
        """Start it and wait until it greets.

        Args:
            trusts: Whether clients of loopback may use XCLIENT.
        """
        # pytest's directories are closed to other users, and Dovecot's processes are others.
        self._root = Path(tempfile.mkdtemp(prefix="popproxy-dovecot-"))
        self._root.chmod(0o755)
        self._numbers = count(1)
        self.port, self.tls_port, self.proxy_port = free_ports(3)
        self._more = _TRUSTS if trusts else ""
        certificates = issue(self._root)
        self.ca_file = certificates.ca_file
        self._configure(certificates)
        program = find("dovecot")
        assert program, "the test needs a mark: needs('dovecot')"
        self._process = subprocess.Popen(
            [program, "-F", "-c", str(self._root / "dovecot.conf")], stdin=subprocess.DEVNULL
        )
        try:
            until(self._greets, "Dovecot's greeting")
        except AssertionError as failure:
            failure.add_note(self.log)
            self.stop()
            raise

    def _configure(self, certificates: Certificates) -> None:
        as_root = os.geteuid() == 0
        me = pwd.getpwuid(os.geteuid())
        mail = pwd.getpwnam("nobody") if as_root else me
        self._mail_ids = (mail.pw_uid, mail.pw_gid)
        (self._root / "passwords").mkdir(mode=0o755)
        (self._root / "home").mkdir(mode=0o755)
        (self._root / "dovecot.conf").write_text(
            _CONFIGURATION.format(
                root=self._root,
                mechanisms=MECHANISMS,
                port=self.port,
                tls_port=self.tls_port,
                proxy_port=self.proxy_port,
                chain_file=certificates.chain_file,
                key_file=certificates.key_file,
                internal_user="dovecot" if as_root else me.pw_name,
                internal_group="dovecot" if as_root else grp.getgrgid(os.getegid()).gr_name,
                login_user="dovenull" if as_root else me.pw_name,
                mail_uid=mail.pw_uid,
                mail_gid=mail.pw_gid,
            )
            + self._more
        )

    def _greets(self) -> bool:
        assert self._process.poll() is None, f"Dovecot ended at once:\n{self.log}"
        return greets(self.host, self.port)

    @property
    def log(self) -> str:
        """What Dovecot has logged so far."""
        path = self._root / "dovecot.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def user(self, mails: Iterable[Mail], *, password: str = PASSWORD) -> str:
        """Make an account of its own with these mails in its maildrop.

        Returns:
            The user's name.
        """
        name = f"bo.linde{next(self._numbers)}"
        home = self._root / "home" / name
        for folder in ("", "Maildir", "Maildir/cur", "Maildir/new", "Maildir/tmp"):
            self._give(home / folder, None)
        # Dovecot numbers the mails of `new` by their names.
        for number, mail in enumerate(mails, start=1):
            self._give(home / "Maildir" / "new" / f"{1_300_000_000 + number}.M{number}.here", mail)
        # A file for each user: Dovecot looks only once a second whether a file has changed.
        (self._root / "passwords" / name).write_text(f"{name}:{{PLAIN}}{password}::::::\n")
        return name

    def rawlog(self, user: str) -> Path:
        """Have what this user's sessions say written down; give the folder where it is."""
        folder = self._root / "home" / user / "rawlog"
        self._give(folder, None)
        return folder

    def _give(self, path: Path, mail: Mail | None) -> None:
        if mail is None:
            path.mkdir(mode=0o700)
        else:
            path.write_bytes(mail.content)
        os.chown(path, *self._mail_ids)

    def files(self, user: str, text: str) -> list[Path]:
        """Give the files of the user's mails that hold a text."""
        maildir = self._root / "home" / user / "Maildir"
        found = (path for folder in ("new", "cur") for path in (maildir / folder).iterdir())
        return [path for path in found if text.encode() in path.read_bytes()]

    def left(self, user: str) -> int:
        """Count the mails that are still in the user's maildrop."""
        maildir = self._root / "home" / user / "Maildir"
        return sum(1 for folder in ("new", "cur") for _ in (maildir / folder).iterdir())

    def stop(self) -> None:
        """End Dovecot and take everything away."""
        self._process.terminate()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._root, ignore_errors=True)
