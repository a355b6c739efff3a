"""The key that signs lines about files: Ed25519 (RFC 8032), in PEM, readable by popproxy alone."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from popproxy.formats.file_lines import Signature, key_name
from popproxy.formats.sealing import Sign
from popproxy.sinks.base import SinkError, explain
from popproxy.sinks.files import DIRECTORY_MODE, FILE_MODE

_KEY_MAX = 64 * 1024


def signer(path: str) -> Sign:
    """Load a signing key; make it, and the public key beside it (`.pub`), if there is none.

    Args:
        path: The private key's file.

    Returns:
        What signs a text.

    Raises:
        SinkError: It cannot be used or made; the message says why and what to do.
    """
    try:
        pem = _load(path)
        if pem is None:
            _make(path)
            pem = _load(path) or b""
    except OSError as error:
        raise SinkError(f"the signing key {path} cannot be used: {explain(error)}") from None
    try:
        key = serialization.load_pem_private_key(pem, None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise SinkError(
            f"{path} holds no Ed25519 private key in PEM without a passphrase; name a file that"
            " does not exist, and popproxy makes one"
        )
    name = key_name(key.public_key().public_bytes_raw())
    return lambda text: Signature(key=name, ed25519=key.sign(text))


def _load(path: str) -> bytes | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    with open(descriptor, "rb") as file:  # noqa: PTH123 -- a descriptor
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISREG(mode) and mode & 0o077:
            raise SinkError(
                f"the signing key {path} can be used by others than its owner; chmod 600 it"
            )
        return file.read(_KEY_MAX)


def _make(path: str) -> None:
    """Make both files; if another process is faster, its key is used."""
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    Path(path).parent.mkdir(DIRECTORY_MODE, parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        _write_new(path, private)
        with contextlib.suppress(FileNotFoundError):
            Path(f"{path}.pub").unlink()
        _write_new(f"{path}.pub", public)


def _write_new(path: str, octets: bytes) -> None:
    """Write a file that is whole as soon as it has its name."""
    temporary = f"{path}.{secrets.token_hex(4)}"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123 -- a descriptor
            file.write(octets)
            file.flush()
            os.fsync(descriptor)
        os.link(temporary, path)
    finally:
        os.unlink(temporary)  # noqa: PTH108 -- paths are text here
