"""Certificates for the tests' servers: each server has an authority of its own, made anew."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import trustme

NAMES = ("localhost", "pop.example.test")
"""What the tests' servers call themselves; who connects to an address sees a wrong name."""


@dataclass(frozen=True, kw_only=True)
class Certificates:
    """An authority and one certificate signed by it, as PEM files."""

    ca_file: Path
    """The authority's certificate: what a client has to trust."""
    chain_file: Path
    """The server's certificate, and what leads from it to the authority."""
    key_file: Path
    """The server's key; only its owner can read the file."""


def issue(directory: Path, *names: str) -> Certificates:
    """Make an authority and a certificate for a server.

    Args:
        directory: Where the files are made.
        names: Host names and addresses in the certificate; `NAMES` if there are none.
    """
    authority = trustme.CA()
    chosen = names or NAMES
    # fetchmail 6.4 refuses a certificate whose subject has no common name.
    leaf = authority.issue_cert(*chosen, common_name=chosen[0])
    made = Certificates(
        ca_file=directory / "ca.pem",
        chain_file=directory / "server.pem",
        key_file=directory / "server.key",
    )
    authority.cert_pem.write_to_path(str(made.ca_file))
    for blob in leaf.cert_chain_pems:
        blob.write_to_path(str(made.chain_file), append=True)
    made.key_file.touch(mode=0o600)
    leaf.private_key_pem.write_to_path(str(made.key_file), append=True)
    return made
