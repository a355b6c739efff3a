"""The secrets that a session has seen, and the search for them in what may be told (P04, P05).

What a client hides from a reader of the log, the server may still send back: in an error message,
in a message, encoded or not. Every secret is therefore remembered for as long as its session lives,
and looked for in everything that leaves it.

The search has two stages. The first packs the text (see `popproxy.privacy.forms`) and looks for the
head of each form with `in`, at about a nanosecond for each octet and some tenths of one for each
form. Nearly always it finds nothing, and that is all. What it finds may be an accident of packing;
the second stage, slow and exact, tells where in the original secrets stand.

Bounds: a session keeps up to `MAX_SECRETS` secrets of together `MAX_OCTETS` octets. One more, and
nothing can be told any longer without a risk: `overflowed` says so, and `find` finds all of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, NoReturn

from popproxy.privacy.forms import (
    TAIL,
    Form,
    Span,
    Text,
    all_texts,
    folded,
    forms,
    packed,
    unescaped_texts,
)

MIN_SECRET = 6
"""Octets of the shortest secret that is looked for: the gaps that a shorter one left would tell it,
and wreck the log (P05)."""

MAX_SECRETS = 64
MAX_OCTETS = 131_072

HEAD = 64
"""Octets of a form by which it is first looked for; the rest is compared where the head stands."""

REACH = 1_024
"""Octets of a text in which the head of any form fits whole, wrapped and escaped as is usual."""

_RUN = 8  # octets of a secret that count as an echo of it that was cut
_SAMPLE, _STRIDE = 4, 5  # any _RUN octets hold a sample that begins at a multiple of the stride
_COMMON_WORDS = (b"password", b"passwords", b"passphrase", b"username", b"mailboxes", b"maildrop")
_COMMON_RUNS = frozenset(
    word[at : at + _RUN] for word in _COMMON_WORDS for at in range(len(word) - _RUN + 1)
)
"""Pieces that do not count: a gap in `wrong password` would tell half of `password2025` (P05)."""
_LONGEST_CLEAN = 64
_MAX_CLEAN = 4  # a few are looked through as fast as a set, and take less memory
_MAX_JOINED = 4_096
_MAX_SAMPLES = 200  # samples that may be found in a line before all of it counts as an echo
_BLANKS = b" \t"
_WORD_END = re.compile(rb"[ \t\r\n]")


class Found(NamedTuple):
    """What a search found.

    Attributes:
        spans: Where secrets stand, in order, apart from each other.
        unfinished: Where something begins that reaches the end of the text and may go on behind
            it; None if there is no such thing.
    """

    spans: Sequence[Span]
    unfinished: int | None = None


NOTHING = Found(())
_NONE: frozenset[bytes] = frozenset()


class Learned:
    """The secrets of one session.

    Attributes:
        overflowed: More secrets came than are kept.
    """

    __slots__ = (
        "_clean",
        "_echoes",
        "_heads",
        "_joined",
        "_samples",
        "_secrets",
        "_shortest",
        "_size",
        "overflowed",
    )

    def __init__(self) -> None:
        self._secrets: tuple[bytes, ...] = ()
        self._heads: tuple[bytes, ...] = ()  # by length; see `rest`
        # Lines without secrets, the last one first: servers say the same again and again.
        self._clean: tuple[bytes, ...] = ()
        self._echoes: tuple[tuple[bytes, int], ...] = ()  # see expect_echo
        self._joined = b""  # all of them, folded; kept only while they are few
        self._samples: frozenset[bytes] = _NONE  # of them, if they are not few
        self._shortest = 0  # octets of the shortest head: shorter texts hold no secret
        self._size = 0
        self.overflowed = False

    def __repr__(self) -> str:
        """Name the type and no content (P13)."""
        return "<Learned>"

    def __reduce__(self) -> NoReturn:
        """Refuse: secrets never leave the process (P13)."""
        raise TypeError("learned secrets cannot be pickled")

    @property
    def active(self) -> bool:
        """Whether there is anything to look for."""
        return self.overflowed or bool(self._secrets or self._echoes)

    def learn(self, secrets: Iterable[bytes]) -> None:
        """Remember secrets.

        Args:
            secrets: Each as it was sent; those that are too short to be looked for are passed over.
        """
        for secret in secrets:
            if len(secret) < MIN_SECRET or secret in self._secrets or self.overflowed:
                continue
            self._size += len(secret)
            if self._size > MAX_OCTETS or len(self._secrets) == MAX_SECRETS:
                self.overflow()
                continue
            self._secrets += (secret,)
            self.rest()

    def rest(self) -> None:
        """Keep the secrets alone; what the search needs besides is made again when it is needed."""
        self._heads = self._clean = ()
        self._joined, self._samples = b"", _NONE
        self._shortest = 0

    def _prepare(self) -> tuple[bytes, ...]:
        """Make what the search needs; there is a secret. Gives the heads."""
        found = {packed(form.text[:HEAD]) for secret in self._secrets for form in forms(secret)}
        heads: tuple[bytes, ...] = ()
        for head in sorted(found, key=len):
            # A head that holds another cannot be there without it.
            if not any(other in head for other in heads):
                heads += (head,)
        if self._size <= _MAX_JOINED:
            self._joined = folded(b"\n".join(self._secrets))
        self._heads, self._shortest = heads, len(heads[0])
        return heads

    def expect_echo(self, before: bytes, begun: bytes) -> None:
        """Remember how a line with a secret begins, to know it in an answer that cut it short.

        Nowhere else is it looked for.

        Args:
            before: What stood before the secret.
            begun: The secret's first octets, too few to be looked for by themselves.
        """
        echo = folded(before + begun), len(before)
        if echo not in self._echoes and len(self._echoes) < MAX_SECRETS:
            self._echoes += (echo,)
            self._clean = ()

    def overflow(self) -> None:
        """Note that a secret came that cannot be kept; from here on everything counts as one."""
        self.overflowed = True
        self._secrets = ()
        self.rest()

    def find(self, data: bytes) -> Found:
        """Look for secrets.

        Args:
            data: A text as it stands on the wire.
        """
        if self.overflowed:
            return Found([(0, len(data))]) if data else NOTHING
        if len(data) < self._shortest or not self._secrets:
            return NOTHING
        heads = self._heads or self._prepare()
        if _suspect(heads, packed(data)):
            return self._locate(data)
        if b"=" in data or b"%" in data:
            for text in unescaped_texts(folded(data)):
                if _suspect(heads, packed(text)):
                    return self._locate(data)
        return NOTHING

    def find_echoes(self, line: bytes) -> Sequence[Span]:
        """Look for secrets, also for pieces of them: servers cut what they send back.

        A piece counts from eight octets on. All of the word that a secret or a piece stands in
        counts with it: where a piece ends may be chance, and whether pieces are looked for depends
        on the secret's length.

        Args:
            line: A line of the server.
        """
        if line in self._clean:
            return ()
        spans = self.find(line).spans
        if len(line) >= _RUN:
            low = folded(line)
            spans = [*spans, *self._find_pieces(low), *self._find_begun(low)]
        if spans:
            return _words_around(line, spans)
        if len(line) <= _LONGEST_CLEAN:
            self._clean = (line, *self._clean[: _MAX_CLEAN - 1])
        return ()

    def _find_pieces(self, line: bytes) -> Sequence[Span]:
        """Find pieces of secrets in a line, folded."""
        joined = self._joined
        if not joined:
            return self._find_long_pieces(line) if self._secrets else ()
        hits = [
            at
            for at in range(0, len(line) - _SAMPLE + 1, _STRIDE)
            if line[at : at + _SAMPLE] in joined
        ]
        if len(hits) > _MAX_SAMPLES:
            return [(0, len(line))]
        return [
            (at, at + _RUN)
            for hit in hits
            for at in range(max(hit - _SAMPLE, 0), hit + 1)
            if len(run := line[at : at + _RUN]) == _RUN
            and run in joined
            and run not in _COMMON_RUNS
        ]

    def _find_begun(self, line: bytes) -> Iterator[Span]:
        """Find in a line, folded, what began as a line with a secret and was cut."""
        for echo, before in self._echoes:
            at = line.find(echo)
            while at >= 0:
                yield at + before, at + len(echo)
                at = line.find(echo, at + len(echo))

    def _find_long_pieces(self, line: bytes) -> Sequence[Span]:
        """Find them if the secrets are long, as tickets of Kerberos are.

        To look through all of them for each sample would take milliseconds a line. Here a piece
        counts from 16 octets on, since any as long as that holds a whole sample of eight.
        """
        if not self._samples:
            self._samples = frozenset(
                low[at : at + _RUN]
                for low in map(folded, self._secrets)
                for at in range(0, len(low) - _RUN + 1, _RUN + 1)
            )
        samples = self._samples
        return [
            (at, at + _RUN) for at in range(len(line) - _RUN + 1) if line[at : at + _RUN] in samples
        ]

    def _locate(self, data: bytes) -> Found:
        spans: list[Span] = []
        open_at: list[int] = []
        wanted = [form for secret in self._secrets for form in forms(secret)]
        for text in all_texts(data):
            for searched in (text, text.packed()):
                for form in wanted:
                    if form.packed == (searched is not text):
                        _search(searched, form, spans, open_at)
        return Found(united(spans), min(open_at, default=None))


def _suspect(heads: Sequence[bytes], text: bytes) -> bool:
    """Tell whether one of some heads is in a packed text."""
    for head in heads:  # noqa: SIM110 - `any` takes three times as long on a short line
        if head in text:
            return True
    return False


def _search(text: Text, form: Form, spans: list[Span], open_at: list[int]) -> None:
    """Find all places of a form in a text, those that overlap included."""
    data, wanted = text.data, form.text
    head, size = wanted[:HEAD], len(wanted)
    at = data.find(head)
    while at >= 0:
        end = at + size
        if data[at:end] != wanted:
            end = at + _common(data[at:end], wanted)
        span = text.span(at, end, form)
        spans.append(span)
        if end + TAIL > len(data):
            open_at.append(span[0])
        # Of the places that overlap or touch this one only the last is needed.
        further = data.rfind(head, at + 1, end + len(head))
        at = further if further >= 0 else data.find(head, end)


def _common(data: bytes, wanted: bytes) -> int:
    """Count the octets that two texts have in common at their beginning."""
    low, high = 0, min(len(data), len(wanted))
    while low < high:
        middle = (low + high + 1) // 2
        if data[:middle] == wanted[:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _words_around(line: bytes, spans: Iterable[Span]) -> Sequence[Span]:
    found: list[Span] = []
    for start, end in united(spans):
        if found and end <= found[-1][1]:  # in the same word
            continue
        if line[start] not in _BLANKS:
            start = max(line.rfind(b" ", 0, start), line.rfind(b"\t", 0, start)) + 1
        if line[end - 1] not in _BLANKS:
            blank = _WORD_END.search(line, end)
            end = blank.start() if blank else len(line)
        found.append((start, end))
    return united(found)


def united(spans: Iterable[Span]) -> list[Span]:
    """Sort spans and unite those that overlap or touch.

    Touching ones, too: how many stand side by side would otherwise tell how long they are.

    Args:
        spans: In any order.
    """
    found: list[Span] = []
    for start, end in sorted(spans):
        if found and start <= found[-1][1]:
            found[-1] = found[-1][0], max(end, found[-1][1])
        else:
            found.append((start, end))
    return found
