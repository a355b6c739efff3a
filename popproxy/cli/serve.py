"""`popproxy serve`: popproxy's own POP3 server alone, over one Maildir or mbox."""

from __future__ import annotations

import errno
import secrets
import signal
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import trio

from popproxy.cli.config import Layers, build
from popproxy.cli.diagnostics import Diagnostics
from popproxy.cli.errors import CommandError, Status
from popproxy.cli.options import Invocation
from popproxy.cli.passwords import from_file
from popproxy.cli.privileges import forbid_core_dumps
from popproxy.cli.run import make_diagnostics
from popproxy.cli.sources import read_options
from popproxy.cli.wiring import is_loopback
from popproxy.peers import server
from popproxy.peers.accounts import Accounts
from popproxy.peers.maildir import Maildir
from popproxy.peers.maildrop import Maildrop, MaildropError
from popproxy.peers.mbox import Mbox
from popproxy.relay import Url, UrlError, parse_url


def serve(
    invocation: Invocation,
    given: Mapping[tuple[str, str], tuple[str, object]],
    *,
    maildir: str | None,
    mbox: str | None,
    login: str,
    password_file: str | None,
    listen: str,
) -> int:
    """Run the server; see `popproxy serve --help`.

    Raises:
        CommandError: Something is wrong that a person can mend.
    """
    layers = Layers()
    read_options(layers, given)
    configuration = build(layers)
    forbid_core_dumps()
    url = _listener(listen)
    maildrop = _maildrop(maildir, mbox)
    password = None if password_file is None else from_file(password_file)
    diagnostics = make_diagnostics(configuration, invocation.env)
    made = password or secrets.token_urlsafe(9)
    if password is None:
        diagnostics.announce(
            "login", f"log in as {login} with the password {made}", always=True, user=login
        )
    trio.run(_serve, Accounts(lambda _user: maildrop, {login: made}), url, diagnostics)
    return Status.DONE


def _listener(text: str) -> Url:
    try:
        url = parse_url(text, listener=True)
    except UrlError as error:
        raise CommandError(f"--listen: {error}", status=Status.USAGE) from None
    if url.scheme != "pop3":
        raise CommandError(
            f"--listen: {url.scheme}:// means TLS",
            hint="This server speaks in the clear only: use pop3://.",
            status=Status.USAGE,
        )
    if not is_loopback(url.host):
        raise CommandError(
            f"--listen: {url.host} can be reached from other machines",
            hint="This server is for trials on one machine: use 127.0.0.1 or [::1].",
            status=Status.USAGE,
        )
    return url


def _maildrop(maildir: str | None, mbox: str | None) -> Maildrop:
    if (maildir is None) == (mbox is None):
        raise CommandError(
            "serve takes either --maildir or --mbox",
            hint="popproxy serve --maildir ~/Maildir, for instance.",
            status=Status.USAGE,
        )
    try:
        drop: Maildrop = Maildir(Path(maildir)) if maildir is not None else Mbox(Path(str(mbox)))
        drop.open().close()
    except MaildropError as error:
        raise CommandError(str(error), status=Status.USAGE) from None
    return drop


async def _serve(accounts: Accounts, url: Url, diagnostics: Diagnostics) -> None:
    def report(sentence: str) -> None:
        diagnostics.announce("session_failed", sentence, level="error")

    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as received:
        async with trio.open_nursery() as nursery:
            try:
                port: int = await nursery.start(
                    partial(server.serve, accounts, host=url.host, port=url.port, report=report)
                )
            except OSError as error:
                raise _cannot_listen(url, error) from None
            bound = Url(url.scheme, url.host, port)
            diagnostics.announce("listening", f"listening on {bound}", always=True, url=str(bound))
            async for _ in received:
                break
            nursery.cancel_scope.cancel()


def _cannot_listen(url: Url, error: OSError) -> CommandError:
    in_use = error.errno == errno.EADDRINUSE
    what = "the port is in use by another program" if in_use else error.strerror
    return CommandError(
        f"cannot listen on {url}: {what}",
        hint="Choose another port with --listen, or port 0 for any free one.",
        status=Status.LISTEN,
    )
