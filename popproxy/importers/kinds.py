"""The kinds of logs, and how one is told from the others: by what stands in it.

They are tried in this order, from those that cannot be anything else to those that could.
"""

from __future__ import annotations

from typing import Final

from popproxy.importers import (
    curl_trace,
    javamail,
    mitmproxy,
    pcap,
    poplib,
    prefixed,
    rawlog,
    sslsplit,
    terminals,
    thunderbird,
)
from popproxy.importers.source import Importer

_ALL: Final = (
    Importer(
        name="pcap",
        title="a packet capture",
        recognises=pcap.is_pcap,
        read=pcap.read_pcap,
    ),
    Importer(
        name="mitmproxy",
        title="flows of mitmproxy",
        recognises=mitmproxy.is_mitmproxy,
        read=mitmproxy.read_mitmproxy,
    ),
    Importer(
        name="sslsplit",
        title="a content log of sslsplit",
        recognises=sslsplit.is_sslsplit,
        read=sslsplit.read_sslsplit,
    ),
    Importer(
        name="putty",
        title="a PuTTY log",
        recognises=terminals.is_putty,
        read=terminals.read_putty,
        inferred=("side", "pauses", "addresses"),
    ),
    Importer(
        name="rawlog",
        title="a rawlog of Dovecot",
        recognises=rawlog.is_rawlog,
        read=rawlog.read_rawlog,
        inferred=("order", "addresses"),
    ),
    Importer(
        name="s_client",
        title="a session of openssl s_client",
        recognises=terminals.is_s_client,
        read=terminals.read_s_client,
        inferred=("side", "time", "line-ends", "addresses"),
    ),
    Importer(
        name="fetchmail",
        title="a log of fetchmail",
        recognises=prefixed.is_fetchmail,
        read=prefixed.read_fetchmail,
        inferred=("time", "line-ends", "addresses"),
    ),
    Importer(
        name="curl-trace",
        title="a trace of curl",
        recognises=curl_trace.is_curl_trace,
        read=curl_trace.read_curl_trace,
        inferred=("time", "addresses"),
    ),
    Importer(
        name="curl",
        title="what curl -v said",
        recognises=prefixed.is_curl,
        read=prefixed.read_curl,
        inferred=("time", "line-ends", "addresses"),
    ),
    Importer(
        name="poplib",
        title="debug output of poplib",
        recognises=poplib.is_poplib,
        read=poplib.read_poplib,
        inferred=("time", "addresses"),
    ),
    Importer(
        name="javamail",
        title="debug output of JavaMail",
        recognises=javamail.is_javamail,
        read=javamail.read_javamail,
        inferred=("side", "time", "line-ends", "addresses"),
    ),
    Importer(
        name="mailkit",
        title="a protocol log of MailKit",
        recognises=prefixed.is_mailkit,
        read=prefixed.read_mailkit,
        inferred=("time", "line-ends", "addresses"),
    ),
    Importer(
        name="thunderbird",
        title="a log of Thunderbird",
        recognises=thunderbird.is_thunderbird,
        read=thunderbird.read_thunderbird,
        inferred=("time", "line-ends", "addresses"),
    ),
    Importer(
        name="transcript",
        title="a transcript with C: and S:",
        recognises=prefixed.is_transcript,
        read=prefixed.read_transcript,
        inferred=("time", "line-ends", "addresses"),
    ),
    Importer(
        name="terminal",
        title="a terminal's log without marks",
        recognises=terminals.is_terminal,
        read=terminals.read_terminal,
        inferred=("side", "time", "line-ends", "addresses"),
    ),
)

KINDS: Final[dict[str, Importer]] = {importer.name: importer for importer in _ALL}
"""All importers by name, in the order in which they are tried."""


def recognise(start: bytes) -> str | None:
    """Tell which kind of log a file is.

    Args:
        start: Its first 64 KiB, or all of it.

    Returns:
        The kind's name, or None if it is none that is known.
    """
    for importer in _ALL:
        if importer.recognises(start):
            return importer.name
    return None
