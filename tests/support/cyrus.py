"""Cyrus's POP3 server on loopback, unpacked and in a jail.

Cyrus's `master` listens and keeps the processes that serve. Its mail is put there by IMAP, and its
users and their passwords lie in SASL's own file, so that every mechanism can be used.
"""

from __future__ import annotations

import imaplib
import os
import shutil
from collections.abc import Iterable, Mapping
from itertools import count
from pathlib import Path
from types import MappingProxyType

from tests.support.certificates import issue
from tests.support.jail import OWNER, Jail
from tests.support.leaks import PASSWORD
from tests.support.mails import Mail
from tests.support.ports import free_ports, greets
from tests.support.waiting import until

_PROGRAMS = "usr/lib/cyrus/bin"
_SASL = "usr/lib/x86_64-linux-gnu/sasl2"
_DOMAIN = "pop.example.test"
_IMAPD_CONF = f"""\
configdirectory: /var/lib/cyrus
defaultpartition: default
partition-default: /var/spool/cyrus
proc_path: /run/cyrus/proc
mboxname_lockpath: /run/cyrus/lock
servername: {_DOMAIN}
allowplaintext: yes
altnamespace: no
unixhierarchysep: yes
autocreate_quota: 0
popminpoll: 0
sasl_pwcheck_method: auxprop
sasl_auxprop_plugin: sasldb
sasl_sasldb_path: /etc/sasldb2
sasl_mech_list: PLAIN LOGIN CRAM-MD5 DIGEST-MD5 SCRAM-SHA-1 SCRAM-SHA-256
tls_server_cert: /server.pem
tls_server_key: /server.key
"""
_CYRUS_CONF = """\
START {{
  recover cmd="/usr/lib/cyrus/bin/ctl_cyrusdb -r"
}}
SERVICES {{
  imap cmd="/usr/lib/cyrus/bin/imapd" listen="127.0.0.1:{imap}" prefork=0
  pop3 cmd="/usr/lib/cyrus/bin/pop3d" listen="127.0.0.1:{pop3}" prefork=0
  pop3s cmd="/usr/lib/cyrus/bin/pop3d -s" listen="127.0.0.1:{pop3s}" prefork=0
}}
EVENTS {{
}}
"""


class Cyrus:
    """A running Cyrus.

    Attributes:
        host: Where it listens.
        port: Where it listens for POP3, which may go on under TLS by STLS.
        tls_port: Where it listens for TLS from the start.
        ca_file: The certificate of the authority that signed its certificate.
        truncates: Whether it ends TLS without saying so.
        logins: How clients have to log in where their own choice in the clear fails.
    """

    host = "127.0.0.1"
    truncates = True
    logins: Mapping[str, str] = MappingProxyType({})

    def __init__(self) -> None:
        self._jail = Jail("cyrus", "cyrus", "mail")
        self._numbers = count(1)
        try:
            self._furnish()
            self._start()
        except BaseException:
            self._jail.stop()
            raise

    def _furnish(self) -> None:
        root = self._jail.root
        shutil.copytree(f"/{_SASL}", root / _SASL, symlinks=True)
        # Every program of Cyrus reads the time zones, and ends if there are none.
        shutil.copytree("/usr/share/zoneinfo", root / "usr/share/zoneinfo", symlinks=True)
        programs = [f"{_PROGRAMS}/{name}" for name in ("ctl_cyrusdb", "imapd", "master", "pop3d")]
        modules = [f"{_SASL}/{path.name}" for path in (root / _SASL).glob("*.so")]
        self._jail.load([*programs, *modules, "usr/sbin/saslpasswd2"])
        for folder in ("tmp", "run/cyrus/proc", "run/cyrus/lock", "var/spool/cyrus"):
            self._jail.folder(folder)
        for folder in ("", "/db", "/log", "/socket"):
            self._jail.folder(f"var/lib/cyrus{folder}")

    def _start(self) -> None:
        root = self._jail.root
        certificates = issue(root)
        self.ca_file = certificates.ca_file
        os.chown(certificates.key_file, OWNER, OWNER)
        self.port, self.tls_port, self._imap_port = free_ports(3)
        (root / "etc/imapd.conf").write_text(_IMAPD_CONF)
        (root / "etc/cyrus.conf").write_text(
            _CYRUS_CONF.format(imap=self._imap_port, pop3=self.port, pop3s=self.tls_port)
        )
        configuration = ("-C", "/etc/imapd.conf", "-M", "/etc/cyrus.conf")
        self._jail.start(
            f"/{_PROGRAMS}/master", "-D", *configuration, "-p", "/run/cyrus/master.pid",
            SASL_PATH=f"/{_SASL}",
        )  # fmt: skip
        until(lambda: greets(self.host, self.port), "Cyrus's greeting")

    def user(self, mails: Iterable[Mail]) -> str:
        """Make an account of its own with these mails in its maildrop, and give its name."""
        name = f"bo.cyrus{next(self._numbers)}"
        self._jail.run(
            *("/usr/sbin/saslpasswd2", "-p", "-c", "-u", _DOMAIN, name),
            told=PASSWORD.encode(),
            SASL_PATH=f"/{_SASL}",
        )
        Path(self._jail.root / "etc/sasldb2").chmod(0o644)
        with imaplib.IMAP4(self.host, self._imap_port) as session:
            session.login(name, PASSWORD)
            for mail in mails:
                status, answer = session.append("INBOX", "", "", mail.content)
                assert status == "OK", answer
        return name

    def stop(self) -> None:
        """End Cyrus and take everything away."""
        self._jail.stop()
