"""The types of popproxy.toml: every setting, its type, its default and what it does.

`config schema` is made from these types, `config/popproxy.toml` is tested against them. The names
of sections and settings are part of the interface: they are also those of the environment
variables, `POPPROXY_SECTION__KEY`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

Networks = Annotated[
    list[str], Meta(description="Networks, as 192.0.2.0/24, that may connect besides loopback.")
]
Seconds = Annotated[float, Meta(gt=0)]
Count = Annotated[int, Meta(ge=1)]
Facility = Literal[
    "kern",
    "user",
    "mail",
    "daemon",
    "auth",
    "syslog",
    "lpr",
    "news",
    "uucp",
    "cron",
    "authpriv",
    "ftp",
    "ntp",
    "audit",
    "alert",
    "clock",
    "local0",
    "local1",
    "local2",
    "local3",
    "local4",
    "local5",
    "local6",
    "local7",
]
TlsVersion = Literal["1.0", "1.1", "1.2", "1.3"]
DEFAULT_LISTEN = "pop3://127.0.0.1:1110"


class RouteSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A listener and its upstream server."""

    name: Annotated[
        str, Meta(description="Names the route in records; made from its place if empty.")
    ] = ""
    listen: Annotated[str, Meta(description="Where clients connect; port 0 picks a free one.")] = (
        DEFAULT_LISTEN
    )
    upstream: Annotated[str, Meta(description="The real server; needed.")] = ""
    allow: Networks = []
    proxy_from: Annotated[
        list[str],
        Meta(
            description="Networks of load balancers, whose connections begin with a PROXY header."
        ),
    ] = []
    proxy_to: Annotated[
        Literal["none", "v1", "v2", "xclient"],
        Meta(
            description="How the server learns the client's address: by a PROXY header of version 1"
            " or 2, or by Dovecot's XCLIENT."
        ),
    ] = "none"
    stls: Annotated[
        Literal["intercept", "pass", "hide"],
        Meta(description="What becomes of a client's STLS on a listener that begins in the clear."),
    ] = "intercept"
    cert: Annotated[
        str, Meta(description="A certificate chain in PEM for clients; else popproxy makes one.")
    ] = ""
    key: Annotated[
        str, Meta(description="The key of cert in PEM; needed unless it is in cert's file.")
    ] = ""
    client_tls_minimum: Annotated[
        TlsVersion, Meta(description="The oldest version of TLS that clients may speak.")
    ] = "1.2"
    upstream_ca: Annotated[
        str, Meta(description="Certificates in PEM to trust, instead of the system's.")
    ] = ""
    pin: Annotated[
        list[str],
        Meta(description="sha256: and the fingerprint of a server's certificate to accept alone."),
    ] = []
    insecure: Annotated[bool, Meta(description="Accept any certificate of the server.")] = False
    client_certificate: Annotated[
        str, Meta(description="A certificate chain in PEM that the server may ask popproxy for.")
    ] = ""
    client_key: Annotated[
        str, Meta(description="The key of client_certificate; needed unless in the same file.")
    ] = ""
    server_name: Annotated[
        str, Meta(description="The name that the server's certificate has to hold.")
    ] = ""
    sni: Annotated[str, Meta(description="The name to ask the server for; none sends no name.")] = (
        ""
    )
    upstream_tls_minimum: Annotated[
        TlsVersion, Meta(description="The oldest version of TLS that the server may speak.")
    ] = "1.2"


class RecordSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is written, where, and how much of it."""

    putty: Annotated[
        list[str], Meta(description="PuTTY session logs, one file per session: paths need &S.")
    ] = []
    jsonl: Annotated[list[str], Meta(description="JSON lines; - is standard output.")] = []
    text: Annotated[list[str], Meta(description="Text transcripts; - is standard output.")] = []
    pcapng: Annotated[
        list[str], Meta(description="Packets for Wireshark; - is standard output, into a pipe.")
    ] = []
    syslog: Annotated[
        list[str],
        Meta(description="Syslog collectors: syslog+tls://HOST:6514 or syslog+tcp://HOST:601."),
    ] = []
    putty_mode: Annotated[
        Literal["printable", "all"],
        Meta(description="printable: control characters as visible escapes; all: byte-exact."),
    ] = "printable"
    body: Annotated[
        Literal["full", "headers", "none"],
        Meta(description="How much of each message is recorded."),
    ] = "full"
    mask_users: Annotated[
        bool, Meta(description="Show a pseudonym instead of each user's name.")
    ] = False
    require_log: Annotated[
        bool, Meta(description="Forward no byte that could not be recorded.")
    ] = False


class FilesSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What becomes of files that are written for long."""

    rotate_size: Annotated[
        int,
        Meta(
            ge=0,
            description="Octets after which a file of all sessions is set aside; 0 for never, else"
            " 65536 at least.",
        ),
    ] = 0
    rotate_every: Annotated[
        Literal["never", "hour", "day", "week", "month"],
        Meta(description="The period, in UTC, after which a file of all sessions is set aside."),
    ] = "never"
    keep_days: Annotated[
        int,
        Meta(ge=0, description="Days after which a closed file is removed; 0: never."),
    ] = 0
    keep_size: Annotated[
        int,
        Meta(
            ge=0,
            description="Octets that the files of an output may have together; the oldest closed"
            " ones go first. 0: any number.",
        ),
    ] = 0
    compress: Annotated[bool, Meta(description="Pack closed files, by zstd.")] = False
    fsync: Annotated[
        Literal["never", "interval", "record"],
        Meta(description="When to wait until the disk has what was written; interval: a second."),
    ] = "never"


class ChainSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How JSON lines are sealed, so that `popproxy verify --chain` can tell that they are whole."""

    seal: Annotated[
        bool, Meta(description="Each line carries the running hash of its file's chain.")
    ] = True
    key: Annotated[
        str,
        Meta(description="A key that signs checkpoints: PEM, Ed25519; made if it does not exist."),
    ] = ""
    checkpoint: Annotated[
        Seconds, Meta(description="Between two checkpoints, if records come.")
    ] = 60.0
    copies: Annotated[
        str, Meta(description="A file elsewhere that each line about a file is appended to.")
    ] = ""


class SyslogSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How records go to syslog collectors, for all that `record.syslog` names."""

    facility: Annotated[Facility, Meta(description="The facility of all messages.")] = "audit"
    app_name: Annotated[str, Meta(description="The program's name in messages.")] = "popproxy"
    hostname: Annotated[
        str, Meta(description="This machine's name in messages; what the system says if empty.")
    ] = ""
    sd_id: Annotated[
        str, Meta(description="The structured data's SD-ID: a name, @ and an enterprise number.")
    ] = "popproxy@32473"
    bodies: Annotated[
        bool, Meta(description="Send the content of messages and lists, too, if it is recorded.")
    ] = False
    max_size: Annotated[
        Count,
        Meta(description="Octets of a message, as the collector takes them; 2048 at least."),
    ] = 8000
    ca: Annotated[
        str, Meta(description="Certificates in PEM to trust, instead of the system's.")
    ] = ""
    client_certificate: Annotated[
        str, Meta(description="A certificate chain in PEM that collectors may ask popproxy for.")
    ] = ""
    client_key: Annotated[
        str, Meta(description="The key of client_certificate; needed unless in the same file.")
    ] = ""
    spool: Annotated[
        str, Meta(description="The folder of what waits; a place of its own if empty.")
    ] = ""
    spool_size: Annotated[
        Count, Meta(description="Octets that may wait for each collector; 1048576 at least.")
    ] = 64 * 1024 * 1024
    resend: Annotated[
        Seconds,
        Meta(description="When a connection breaks, what was sent this long before is sent again."),
    ] = 10.0


class TlsSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """TLS, for all routes."""

    authority: Annotated[
        str, Meta(description="The folder of the local authority; a place of its own if empty.")
    ] = ""
    keys: Annotated[
        str,
        Meta(description="Write TLS keys to this file, which ends in .SECRET: a danger."),
    ] = ""


class LimitsSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much is served at once."""

    connections: Annotated[Count, Meta(description="In all.")] = 1000
    connections_per_client: Annotated[Count, Meta(description="From one address.")] = 50
    pending_commands: Annotated[
        Count,
        Meta(description="Unanswered commands of a session; beyond it, it is no longer read."),
    ] = 10_000


class TimeoutsSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a session is given up, in seconds."""

    proxy_header: Annotated[
        Seconds, Meta(description="For a load balancer's PROXY header to come.")
    ] = 5.0
    resolve: Annotated[Seconds, Meta(description="To look up the upstream's name.")] = 5.0
    connect: Annotated[
        Seconds, Meta(description="To connect to the upstream, over all its addresses.")
    ] = 10.0
    handshake: Annotated[Seconds, Meta(description="To finish a TLS handshake.")] = 10.0
    login: Annotated[Seconds, Meta(description="To log in, from the start of the session.")] = 180.0
    idle: Annotated[
        Seconds,
        Meta(description="Without a byte in either direction; RFC 1939 wants 600 at least."),
    ] = 600.0
    closing: Annotated[
        Seconds,
        Meta(description="Without a byte from a client that stays when its server has gone."),
    ] = 60.0
    drain: Annotated[
        Seconds, Meta(description="For sessions under way when popproxy is told to stop.")
    ] = 10.0


class StatusSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who may ask how popproxy is: nobody, unless these say so."""

    socket: Annotated[
        str, Meta(description="A Unix socket that `popproxy status` asks, for this user alone.")
    ] = ""
    metrics: Annotated[
        str, Meta(description="A loopback address and port where Prometheus reads metrics.")
    ] = ""
    metrics_token: Annotated[
        str,
        Meta(description="The file of the token that metrics want; made if it does not exist."),
    ] = ""


class LogSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What popproxy says about itself, on standard error."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"],
        Meta(description="The least important message that is shown."),
    ] = "info"
    format: Annotated[
        Literal["console", "json"], Meta(description="For people, or one JSON object a line.")
    ] = "console"
    color: Annotated[
        Literal["auto", "always", "never"],
        Meta(description="auto: on a terminal, unless NO_COLOR is set."),
    ] = "auto"
    quiet: Annotated[bool, Meta(description="Nothing on the terminal but warnings and errors.")] = (
        False
    )


class ProcessSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the process may do."""

    user: Annotated[
        str,
        Meta(description="The user to become after listening; needed when started as root."),
    ] = ""
    workers: Annotated[
        Count, Meta(description="Processes that serve; one for each core is enough.")
    ] = 1


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole configuration."""

    route: Annotated[list[RouteSettings], Meta(description="One table for each listener.")] = []
    record: RecordSettings = RecordSettings()
    files: FilesSettings = FilesSettings()
    chain: ChainSettings = ChainSettings()
    syslog: SyslogSettings = SyslogSettings()
    tls: TlsSettings = TlsSettings()
    limits: LimitsSettings = LimitsSettings()
    timeouts: TimeoutsSettings = TimeoutsSettings()
    status: StatusSettings = StatusSettings()
    log: LogSettings = LogSettings()
    process: ProcessSettings = ProcessSettings()


SECTIONS: dict[str, type[Struct]] = {
    "route": RouteSettings,
    "record": RecordSettings,
    "files": FilesSettings,
    "chain": ChainSettings,
    "syslog": SyslogSettings,
    "tls": TlsSettings,
    "limits": LimitsSettings,
    "timeouts": TimeoutsSettings,
    "status": StatusSettings,
    "log": LogSettings,
    "process": ProcessSettings,
}


def json_schema() -> dict[str, Any]:
    """Give the JSON Schema (2020-12) of popproxy.toml."""
    schema = msgspec.json.schema(Settings)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:popproxy:configuration:1",
        "title": "popproxy.toml",
        **schema,
    }
