"""`popproxy verify --chain`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from popproxy.cli.errors import CommandError, Status
from popproxy.formats import visible
from popproxy.formats.packed import open_packed
from popproxy.sinks.files import is_locked
from popproxy.tools.chain import Break
from popproxy.tools.chain_proof import Checkpoints, Keys, ProofError
from popproxy.tools.chain_set import ChainError, ChainVerifier, Verdict, Whole

_ENDINGS: Final = {
    "closed": "closed",
    "continued": "goes on in another file",
    "writing": "being written",
    "open": "without an end line",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What was asked for.

    Attributes:
        keys: Files of public keys.
        checkpoints: Files of copies that were kept elsewhere.
        open_end: The last file of a series may be without its end.
    """

    keys: Sequence[str]
    checkpoints: Sequence[str]
    open_end: bool


def verify_chain(paths: Sequence[str], options: Options) -> int:
    """Verify the chains of files; see `popproxy verify --help`.

    Raises:
        CommandError: A file, key or checkpoint cannot be read, or nothing is sealed.
    """
    try:
        verifier = ChainVerifier(
            open_packed,
            being_written=lambda file: is_locked(str(Path(file).resolve())),
            keys=Keys((path, _octets(path)) for path in options.keys) if options.keys else None,
            checkpoints=_checkpoints(options.checkpoints) if options.checkpoints else None,
            open_end=options.open_end,
        )
        whole = verifier.verify([file for path in paths for file in _files(path)])
    except (ChainError, ProofError) as error:
        raise CommandError(visible(str(error)), status=Status.FAILED) from None
    if not whole.verdicts:
        raise CommandError(
            "there is no file of JSON lines to verify",
            hint="name the files that `popproxy run --jsonl` wrote, or their folder",
            status=Status.USAGE,
        )
    for verdict in whole.verdicts:
        _tell(verdict, signed=bool(options.keys))
    for fault in whole.faults:
        click.echo(f"BROKEN  {visible(fault)}")
    click.echo(_summary(whole))
    return Status.DONE if whole.whole else Status.FAILED


def _files(path: str) -> Iterator[str]:
    """Give a file, or those of a folder that hold JSON lines."""
    root = Path(path)
    if not root.is_dir():
        yield path
        return
    for folder, folders, names in os.walk(root):
        folders.sort()
        for name in sorted(names):
            file = Path(folder) / name
            if name.startswith(".") or file.is_symlink() or not file.is_file():
                continue
            try:
                with open_packed(str(file)) as opened:
                    starts = opened.read(1) == b"{"
            except OSError as error:
                raise ChainError(f"{file} cannot be read: {error.strerror or error}") from None
            if starts:
                yield str(file)


def _octets(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ChainError(f"{path} cannot be read: {error.strerror or error}") from None


def _checkpoints(paths: Sequence[str]) -> Checkpoints:
    def lines() -> Iterator[bytes]:
        for path in paths:
            try:
                with open_packed(path) as file:
                    yield from file
            except OSError as error:
                raise ChainError(f"{path} cannot be read: {error.strerror or error}") from None

    return Checkpoints(lines())


def _tell(verdict: Verdict, *, signed: bool) -> None:
    walked = verdict.walked
    what = f"{_count(walked.lines, 'line')}, {_count(walked.records, 'record')}"
    ending = "empty" if not walked.lines else _ENDINGS[verdict.ending]
    if signed and verdict.signed:
        unsigned = walked.last.n - verdict.signed
        ending += ", signed" if not unsigned else f", signed but for the last {unsigned:,}"
    mark = "whole " if verdict.whole else "BROKEN"
    click.echo(f"{mark}  {visible(walked.path)}: {what}, {ending}")
    faults = [_said(verdict.broken)] if verdict.broken is not None else []
    more = walked.breaks - 1
    if more > 0:
        faults.append(f"{_count(more, 'more line')} behind it do not follow")
    for fault in [*faults, *verdict.faults]:
        click.echo(f"        {visible(fault)}")
    for note in verdict.notes:
        click.echo(f"        note: {visible(note)}")


def _said(found: Break) -> str:
    """Say in words what is wrong with the first line that breaks a chain."""
    place = f"line {found.line:,}"
    which = f"line {found.n:,} of the chain"
    where = f"{found.where[0]}, line {found.where[1]:,}" if found.where is not None else ""
    match found.kind:
        case "changed":
            return f"{place}: changed; it is {which}, and has not the hash that it was written with"
        case "missing":
            if found.until > found.n:
                which = f"lines {found.n:,} to {found.until:,} of the chain"
                return f"{place}: {which} are missing in front of it"
            return f"{place}: {which} is missing in front of it"
        case "repeated":
            return f"{place}: repeated; it stands in {where} already"
        case "reordered":
            return f"{place}: reordered; {which} should stand here, and stands in {where}"
        case "moved":
            return f"{place}: {which} should stand here, and was moved to {where}"
        case "foreign":
            return f"{place}: from another file; it belongs behind, or is a copy of, {where}"
        case "added":
            return f"{place}: added; no file that was given holds it in its chain"
        case "unsealed":
            return "no line has a link: it was not written by `popproxy run`, or not as it is now"
        case "anew":
            return f"{place}: a new chain begins, and {which} is not there"


def _summary(whole: Whole) -> str:
    files = len(whole.verdicts)
    records = sum(verdict.walked.records for verdict in whole.verdicts)
    what = f"{_count(files, 'file')}, {_count(records, 'record')}"
    if whole.whole:
        return f"whole: {what}"
    broken = sum(not verdict.whole for verdict in whole.verdicts)
    if not broken:
        return f"not whole: {what}; each is in itself, but they are not together"
    return f"not whole: {what}; {broken:,} of {files:,} broken"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
