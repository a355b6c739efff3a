"""Certificates for both legs, made for one run and thrown away with its folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import trustme


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificates:
    """Files in PEM: one certificate serves the server and every proxy alike.

    Attributes:
        authority: who signed it; proxies verify the server against this.
        chain: the certificate.
        key: its private key, EC P-256.
        together: both in one file, as haproxy and mitmproxy want them.
    """

    authority: Path
    chain: Path
    key: Path
    together: Path


def make_certificates(folder: Path) -> Certificates:
    """Make an authority and a certificate for 127.0.0.1 in a folder."""
    made = Certificates(
        authority=folder / "authority.pem",
        chain=folder / "chain.pem",
        key=folder / "key.pem",
        together=folder / "together.pem",
    )
    authority = trustme.CA()
    leaf = authority.issue_cert("127.0.0.1", "localhost")
    authority.cert_pem.write_to_path(str(made.authority))
    leaf.cert_chain_pems[0].write_to_path(str(made.chain))
    leaf.private_key_pem.write_to_path(str(made.key))
    leaf.private_key_and_cert_chain_pem.write_to_path(str(made.together))
    return made
