"""How JSON lines are sealed, made from the settings."""

from __future__ import annotations

from collections.abc import Callable

from popproxy.cli.config import Configuration
from popproxy.cli.errors import CommandError, Status
from popproxy.sinks import SinkError
from popproxy.sinks.elsewhere import Elsewhere
from popproxy.sinks.files import is_locked
from popproxy.sinks.keeping import Keeper
from popproxy.sinks.naming import Template
from popproxy.sinks.series import Chain

MakeKeeper = Callable[[str], Keeper]


def make_chain(configuration: Configuration, elsewhere: Elsewhere) -> Chain | None:
    """Say how JSON lines are sealed; None if they are not.

    Args:
        configuration: The settings.
        elsewhere: Takes lines about files.

    Raises:
        CommandError: The signing key cannot be used.
    """
    settings = configuration.settings
    values = settings.chain
    if not (values.seal and settings.record.jsonl):
        return None
    sign = None
    if values.key:
        from popproxy.sinks.chain_key import signer  # its library takes long to load

        try:
            sign = signer(values.key)
        except SinkError as error:
            raise CommandError(
                str(error),
                hint=f"It comes from: {configuration.origins['chain', 'key']}.",
                status=Status.USAGE,
            ) from None
    return Chain(
        sign=sign, checkpoint=values.checkpoint, on_line=_on_line(values.copies, elsewhere)
    )


def _on_line(path: str, elsewhere: Elsewhere) -> Callable[[str, bytes], None]:
    """Give what sends lines about files to collectors, and to a file of copies if one is named."""
    if not path:
        return elsewhere.put
    from popproxy.sinks.copies import Copies

    copies = Copies(path)

    def on_line(action: str, line: bytes) -> None:
        elsewhere.put(action, line)
        copies.put(line)

    return on_line


def seals_for(chain: Chain | None, kind: str, path: str) -> MakeKeeper | None:
    """Give what seals an output's files, if it is one of JSON lines.

    Args:
        chain: How to seal; None for not at all.
        kind: The output's format.
        path: Its path template.
    """
    if chain is None or kind != "jsonl":
        return None
    from popproxy.sinks.seal import seals

    return seals(path, chain)


def refuse_files_in_use(configuration: Configuration) -> None:
    """Refuse to start if another popproxy writes one of the files: it would break the chain.

    Raises:
        CommandError: One does.
    """
    settings = configuration.settings
    if not settings.chain.seal:
        return
    for path in settings.record.jsonl:
        if not Template(path).uses_any and is_locked(path):
            raise CommandError(
                f"--jsonl {path}: another popproxy is writing this file, and two cannot seal it",
                hint="Name another file, or end the other popproxy first.",
                status=Status.USAGE,
            )
