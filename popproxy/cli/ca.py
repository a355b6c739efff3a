"""`popproxy ca show | export | path | renew`."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import click
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from popproxy.cli.config import Layers, build
from popproxy.cli.console import is_terminal
from popproxy.cli.errors import CommandError, Status
from popproxy.cli.options import Invocation
from popproxy.cli.places import authority_directory
from popproxy.cli.sources import find_file, read_environment, read_file
from popproxy.tls import authority
from popproxy.tls.authority import Authority, Form
from popproxy.tls.failures import TlsSetupError
from popproxy.tls.folder import CERTIFICATE, KEY

ENDINGS: dict[str, Form] = {
    ".pem": "pem",
    ".crt": "pem",
    ".der": "der",
    ".cer": "der",
    ".p12": "p12",
    ".pfx": "p12",
}
"""What a file's name tells about its form, where `--format` does not."""
_STDOUT = "-"


def directory(invocation: Invocation, option: str | None, config_file: str | None) -> Path:
    """Find out which authority is meant.

    Args:
        invocation: With the environment.
        option: What `--authority` says.
        config_file: What `--config` says.

    Raises:
        CommandError: The configuration is wrong, or its file is not there.
    """
    if option:
        return Path(option)
    layers = Layers()
    file = find_file(config_file, invocation.env)
    if file is not None:
        read_file(layers, file)
    read_environment(layers, invocation.env)
    build(layers)  # a name that is spelt wrong may be the very one that counts here
    entry = layers.entries.get(("tls", "authority"))
    return Path(str(entry.value)) if entry and entry.value else authority_directory(invocation.env)


def show(directory: Path) -> int:
    """Show the authority; see `popproxy ca show --help`.

    Raises:
        CommandError: There is none, or it cannot be used as it is.
    """
    with _told():
        certificate = authority.read_certificate(directory)
    if certificate is None:
        raise CommandError(
            f"there is no local authority in {directory} yet",
            hint=(
                "popproxy makes it when it first speaks TLS with a client. To make it now, and\n"
                "have a file for clients to trust: popproxy ca export popproxy.crt"
            ),
        )
    trouble = None
    try:
        loaded = Authority.load(directory)
    except TlsSetupError as error:
        trouble = error
        key = "cannot be used, see below" if (directory / KEY).exists() else "is not here"
    else:
        key = f"{loaded.directory / KEY}, for its owner's eyes only"
    click.echo(authority.common_name(certificate))
    for name, value in [
        ("certificate", str(directory / CERTIFICATE)),
        ("key", key),
        ("valid", _validity(certificate)),
        ("SHA-256", _fingerprint(certificate)),
        *(("old one", str(path)) for path in _old_ones(directory)),
    ]:
        click.echo(f"  {name:12} {value}")
    click.echo(f"\nTo trust it on this machine:  {_trust(directory / CERTIFICATE)}")
    click.echo("Mail clients, other systems, and how to stop:  popproxy help trust")
    if trouble is not None:
        raise _command_error(trouble)
    return Status.DONE


def export(directory: Path, path: str, form: str | None, *, force: bool) -> int:
    """Write the certificate to a file; see `popproxy ca export --help`.

    Raises:
        CommandError: It cannot be written, or there is no authority to be had.
    """
    chosen = cast("Form", form) if form else _form_of(path)
    if path == _STDOUT and chosen != "pem" and is_terminal(sys.stdout):
        raise CommandError(
            f"{chosen} is binary, and standard output is a terminal",
            hint="Name a file instead of -, or take --format pem.",
            status=Status.USAGE,
        )
    if path != _STDOUT and not force and os.path.lexists(path):
        raise _exists(path)
    with _told():
        certificate = authority.read_certificate(directory)
        if certificate is None:
            certificate = Authority.open(directory).certificate
            _note(f"made a new local authority in {directory}")
    if certificate.not_valid_after_utc <= datetime.now(UTC):
        _note(
            f"this authority expired on {certificate.not_valid_after_utc:%Y-%m-%d}:"
            " `popproxy ca renew` makes a new one"
        )
    content = authority.export(certificate, chosen)
    if path == _STDOUT:
        sys.stdout.buffer.write(content)
        return Status.DONE
    _write(Path(path), content, force=force)
    click.echo(f"{path}: {authority.common_name(certificate)}, as {chosen}")
    click.echo(f"SHA-256 {_fingerprint(certificate)}")
    return Status.DONE


def path(directory: Path) -> int:
    """Print where the certificate lies; see `popproxy ca path --help`."""
    file = (directory / CERTIFICATE).absolute()
    click.echo(str(file))
    if not file.exists():
        _note("there is no such file yet: popproxy makes it when it first speaks TLS with a client")
    return Status.DONE


def renew(directory: Path, *, yes: bool) -> int:
    """Make a new authority; see `popproxy ca renew --help`.

    Raises:
        CommandError: It cannot be made, or nobody can be asked.
    """
    present = [name for name in (CERTIFICATE, KEY) if os.path.lexists(directory / name)]
    if present and not yes:
        _ask(directory)
    with _told():
        renewal = authority.renew(directory)
    click.echo(f"new: {authority.common_name(renewal.certificate)}")
    click.echo(f"     SHA-256 {_fingerprint(renewal.certificate)}")
    if renewal.old is not None:
        click.echo(f"old: {authority.common_name(renewal.old)}")
        click.echo(f"     SHA-256 {_fingerprint(renewal.old)}")
    for kept in renewal.kept:
        click.echo(f"     kept as {kept}")
    if not renewal.kept:
        click.echo("\nLet clients trust it: popproxy help trust")
        return Status.DONE
    click.echo("\nLet clients trust the new one, and stop trusting the old: popproxy help trust")
    click.echo("A popproxy that runs shows the old one until it is started again.")
    click.echo("Once no client trusts the old one any more, delete its files.")
    return Status.DONE


def _ask(directory: Path) -> None:
    if not is_terminal(sys.stdin):
        raise CommandError(
            "nobody can be asked whether to replace the local authority",
            hint=(
                "Every client that trusts it will have to be told to trust the new one. If that is"
                "\nwhat you want: popproxy ca renew --yes"
            ),
            status=Status.USAGE,
        )
    click.confirm(
        f"Replace the local authority in {directory}?\n"
        "Every client that trusts it will have to be told to trust the new one.",
        abort=True,
        err=True,
    )


def _form_of(path: str) -> Form:
    if path == _STDOUT:
        return "pem"
    form = ENDINGS.get(Path(path).suffix.lower())
    if form is None:
        raise CommandError(
            f"the name {path} does not tell the form of the file",
            hint=f"Let it end in {', '.join(ENDINGS)}, or add --format pem, der or p12.",
            status=Status.USAGE,
        )
    return form


def _exists(path: str) -> CommandError:
    return CommandError(f"{path} exists", hint="--force replaces it.", status=Status.USAGE)


def _write(path: Path, content: bytes, *, force: bool) -> None:
    """Write a file that everybody may read; one that exists is replaced as a whole."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    target = path.with_name(f".{path.name}.{os.getpid()}") if force else path
    try:
        descriptor = os.open(target, flags, 0o644)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        if force:
            target.replace(path)
    except FileExistsError:
        raise _exists(str(path)) from None
    except OSError as error:
        if force:
            with contextlib.suppress(OSError):
                target.unlink()
        raise CommandError(
            f"{path} cannot be written: {error.strerror}",
            hint="Name a file in a folder that exists and that you may write to.",
        ) from None


@contextlib.contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except TlsSetupError as error:
        raise _command_error(error) from None


def _command_error(error: TlsSetupError) -> CommandError:
    """Part what happened from what to do, which stands behind a semicolon."""
    what, _, remedy = str(error).partition("; ")
    return CommandError(what, hint=remedy[:1].upper() + remedy[1:])


def _note(text: str) -> None:
    click.echo(f"popproxy: {text}", err=True)


def _validity(certificate: x509.Certificate) -> str:
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    days = (end - datetime.now(UTC)).days
    left = f"{days:,} days left" if days >= 0 else "expired"
    return f"{start:%Y-%m-%d} to {end:%Y-%m-%d}, {left}"


def _fingerprint(certificate: x509.Certificate) -> str:
    return certificate.fingerprint(hashes.SHA256()).hex(":").upper()


def _old_ones(directory: Path) -> list[Path]:
    pattern = f"{Path(CERTIFICATE).stem}-*{Path(CERTIFICATE).suffix}"
    return sorted(directory.glob(pattern))


def _trust(certificate: Path) -> str:
    quoted = shlex.quote(str(certificate.absolute()))
    if sys.platform == "darwin":
        return f"security add-trusted-cert -k ~/Library/Keychains/login.keychain-db -p ssl {quoted}"
    target = "/usr/local/share/ca-certificates/popproxy.crt"
    return f"sudo cp {quoted} {target} && sudo update-ca-certificates"
