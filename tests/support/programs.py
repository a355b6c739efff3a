"""Programs that tests need, and the Debian packages that bring them.

A test says `@needs("fetchmail")`. Where the program is missing the test is skipped with one line
that names the package; where skips are forbidden (`CI=true`, `POPPROXY_NO_SKIPS=1`, so in
`.ci/run`) it fails instead. `tests/conftest.py` holds that rule.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

PACKAGES = {
    "chromium": "chromium",
    "curl": "curl",
    "dovecot": "dovecot-pop3d",
    "fetchmail": "fetchmail",
    "gcc": "gcc",
    "getmail": "getmail6",
    "haproxy": "haproxy",
    "logrotate": "logrotate",
    "mpop": "mpop",
    "mutt": "mutt",
    "openssl": "openssl",
    "openssl/ssl.h": "libssl-dev",
    "lmnsd_gtls.so": "rsyslog-gnutls",
    "promtool": "prometheus",
    "putty": "putty",
    "rsyslogd": "rsyslog",
    "sslsplit": "sslsplit",
    "strace": "strace",
    "stdio.h": "libc6-dev",
    "systemd-analyze": "systemd",
    "tcpdump": "tcpdump",
    "telnet": "telnet",
    "thunderbird": "thunderbird",
    "tshark": "tshark",
    "xdotool": "xdotool",
    "Xvfb": "xvfb",
    "zstd": "zstd",
}
"""Program, header for C, or module of rsyslog: the Debian package that holds it."""

UNPACKED = {
    "courierpop3d": "courier/usr/lib/courier/courier/courierpop3d",
    "cyrus-pop3d": "cyrus/usr/lib/cyrus/bin/pop3d",
}
"""Program: where it lies in `SERVERS`; its package cannot be installed beside Dovecot's."""

SERVERS = Path(__file__).parents[2] / ".servers"
"""Where `.ci/servers` unpacks them."""

_HEADERS = Path("/usr/include")
_EXTRA_PATH = ("/usr/sbin", "/sbin")
_LIBRARIES = Path("/usr/lib")


def find(program: str) -> str | None:
    """Give the program's path; administrators' directories are searched too."""
    if program in UNPACKED:
        unpacked = SERVERS / UNPACKED[program]
        return str(unpacked) if unpacked.exists() else None
    if program.endswith(".h"):
        header = _HEADERS / program
        return str(header) if header.exists() else None
    if program.endswith(".so"):
        return next(map(str, _LIBRARIES.glob(f"*/rsyslog/{program}")), None)
    found = shutil.which(program)
    for directory in _EXTRA_PATH:
        found = found or shutil.which(program, path=directory)
    return found


def needs(*programs: str) -> pytest.MarkDecorator:
    """Mark a test that needs these programs, each one of `PACKAGES` or `UNPACKED`."""
    unknown = [program for program in programs if program not in {**PACKAGES, **UNPACKED}]
    if unknown:
        raise ValueError(f"no Debian package is known for {', '.join(unknown)}")
    return pytest.mark.needs(*programs)


def missing(programs: tuple[str, ...]) -> str | None:
    """Say in one line what is missing and how to get it, or None."""
    absent = [program for program in programs if find(program) is None]
    if not absent:
        return None
    packages = " ".join(PACKAGES[program] for program in absent if program in PACKAGES)
    remedies = [f"apt-get install {packages}"] if packages else []
    if not UNPACKED.keys().isdisjoint(absent):
        remedies.append(".ci/servers")
    return f"{', '.join(absent)} not found: {' && '.join(remedies)}"
