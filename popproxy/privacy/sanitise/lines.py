"""Single lines of the conversation: commands, status lines, lines of tables.

Known words stay, as do numbers that count something; users, addresses and hosts get the pseudonyms
that they have everywhere; all else is filled. Status indicators and keywords stay, as all that is
read of a session hangs on them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from typing import Final

from popproxy.privacy.sanitise import addresses, kept
from popproxy.privacy.sanitise.keys import Keys
from popproxy.privacy.sanitise.words import fill, in_text

_STATUS: Final = re.compile(rb"\+OK|-ERR|ERR|[+-]", re.IGNORECASE)
_COMMAND: Final = re.compile(
    rb"((?:[ \t\x00]|\xef\xbb\xbf)*)([A-Za-z*][A-Za-z0-9]*|\*{8})([ \t]*)(.*?)(\r?\n)?", re.DOTALL
)
_ATOM: Final = re.compile(rb"[^\s<>()\[\],;\"\\]+")
_RUN: Final = re.compile(rb"[A-Za-z0-9\x80-\xff]+")
_NUMBERS: Final = re.compile(rb"[0-9]{1,10}(?:[ \t]+[0-9]{1,12})?(?![^\s])")
_COUNT: Final = re.compile(
    rb"(?<![0-9A-Za-z.@-])[0-9]{1,12}(?=[ \t](?:"
    + b"|".join(sorted(kept.SERVER_NOUNS))
    + rb")(?![0-9A-Za-z\x80-\xff]))",
    re.IGNORECASE,
)
_UIDL: Final = re.compile(rb"([ \t]*[0-9]{1,19}[ \t]+)([^ \t\r\n]+)(.*)", re.DOTALL)
_LIST: Final = re.compile(rb"[ \t]*[0-9]{1,19}[ \t]+[0-9]{1,19}(?![^\s])")
_TAG: Final = re.compile(rb"\*|[A-Za-z]{2,3}(?:-[A-Za-z0-9]{2,4})?")
_EDGES: Final = b".:!?'`"
_GLUED: Final = re.compile(rb"(?<=[A-Za-z])[A-Za-z0-9\x80-\xff]+")
_NUMERIC: Final = frozenset({"STAT", "LIST", "UIDL", "RETR", "TOP", "DELE", "LAST"})
_USERS_MOST: Final = 100
_WORDS: Final = kept.SERVER_WORDS | kept.KEYWORDS


class SessionLines:
    """Sanitises the lines of one session.

    Args:
        keys: Gives the pseudonyms.
        removed: Counts what is replaced, by rule.
    """

    def __init__(self, keys: Keys, removed: Counter[str]) -> None:
        self._keys = keys
        self._removed = removed
        self._users: set[bytes] = set()

    def user(self, name: bytes) -> bytes:
        """Replace a user's name, and know it in the server's lines from then on."""
        if len(self._users) < _USERS_MOST:
            self._users.add(name)
        self._removed["user names"] += 1
        return addresses.user(self._keys, name)

    def command(self, line: bytes) -> bytes:
        """Sanitise a line of the client.

        Args:
            line: The line, masked, with its end.
        """
        found = _COMMAND.fullmatch(line)
        if found is None:
            return fill(line)
        before, keyword, blank, arguments, end = found.groups()
        name = keyword.decode("ascii").upper()
        return (
            before + self.keyword(keyword) + blank + self.arguments(name, arguments) + (end or b"")
        )

    def keyword(self, keyword: bytes) -> bytes:
        """Give a keyword as it may be told: a known one, or the mask, or its shape."""
        if keyword.lower() in kept.KEYWORDS:
            return keyword
        return _RUN.sub(
            lambda word: word[0] if word[0].lower() in kept.KEYWORDS else fill(word[0]), keyword
        )

    def arguments(self, keyword: str, arguments: bytes) -> bytes:
        """Sanitise a command's arguments.

        Args:
            keyword: Its keyword, in capitals.
            arguments: What follows it and a blank, masked.
        """
        if keyword in ("USER", "APOP") and arguments.strip():
            name, blank, rest = arguments.partition(b" ")
            return self.user(name) + blank + fill(rest)
        if keyword in _NUMERIC:
            return re.sub(rb"[^0-9\s]+", lambda text: fill(text[0]), arguments)
        if keyword == "LANG" and _TAG.fullmatch(arguments.strip()):
            return arguments
        words = kept.SERVER_WORDS if keyword == "AUTH" else kept.KEYWORDS | kept.HEADER_NAMES
        return _RUN.sub(
            lambda word: word[0] if word[0].lower() in words else fill(word[0]), arguments
        )

    def arguments_text(self, keyword: str, arguments: str | None) -> str | None:
        """Sanitise a command's arguments as a record holds them.

        Args:
            keyword: Its keyword, in any case.
            arguments: The arguments, masked, if there are any.
        """
        if arguments is None:
            return None
        return in_text(lambda text: self.arguments(keyword.upper(), text), arguments)

    def server(self, line: bytes, keyword: str = "") -> bytes:
        """Sanitise a line of the server that has a status indicator, or should have.

        Args:
            line: The line, masked, with its end.
            keyword: Of the command that it answers, in capitals.
        """
        status = _STATUS.match(line)
        size = status.end() if status else 0
        if glued := _GLUED.match(line, size) if size else None:  # another word, which begins alike
            size = glued.end()
            line = line[: glued.start()] + fill(glued[0]) + line[size:]
        text = line[size:]
        begun = b""
        if keyword == "UIDL" and (found := _UIDL.fullmatch(text)):
            return line[:size] + found[1] + self.unique_id(found[2]) + fill(found[3])
        if keyword in _NUMERIC and (numbers := _NUMBERS.match(text.lstrip())):
            begun = text[: len(text) - len(text.lstrip()) + numbers.end()]
        return line[:size] + begun + self.text(text[len(begun) :])

    def text(self, text: bytes) -> bytes:
        """Sanitise what a server says in words of its own."""
        if b"\x1b" in text:
            return fill(text)
        pieces: list[bytes] = []
        at = 0
        for count in _COUNT.finditer(text):
            pieces += (_ATOM.sub(self._atom, text[at : count.start()]), count[0])
            at = count.end()
        pieces.append(_ATOM.sub(self._atom, text[at:]))
        return b"".join(pieces)

    def unique_id(self, text: bytes) -> bytes:
        """Replace a unique-id (RFC 1939, section 7)."""
        self._removed["unique-ids"] += 1
        return self._keys.token("uidl", text)

    def table(self, keyword: str) -> Callable[[bytes], bytes] | None:
        """Give what sanitises a line of the multi-line response to a command.

        Args:
            keyword: The command's, in capitals.

        Returns:
            A function for one line without its end; None if such a response is a message or may be.
        """
        return {
            "LIST": self._listing,
            "UIDL": self._unique_id_line,
            "CAPA": self._capability,
            "AUTH": self.text,
            "LANG": self._language,
            "HELP": self.text,
        }.get(keyword)

    def _listing(self, line: bytes) -> bytes:
        numbers = _LIST.match(line)
        size = numbers.end() if numbers else 0
        return line[:size] + self.text(line[size:])

    def _unique_id_line(self, line: bytes) -> bytes:
        if found := _UIDL.fullmatch(line):
            return found[1] + self.unique_id(found[2]) + fill(found[3])
        return self.text(line)

    def _capability(self, line: bytes) -> bytes:
        tag, blank, rest = line.partition(b" ")
        if (
            tag.upper() in (b"EXPIRE", b"LOGIN-DELAY")
            and rest.split()[:1]
            and rest.split()[0].isdigit()
        ):
            number, more, words = rest.partition(b" ")
            return tag + blank + number + more + self.text(words)
        return self.text(line)

    def _language(self, line: bytes) -> bytes:
        tag, blank, rest = line.partition(b" ")
        return (tag if _TAG.fullmatch(tag) else fill(tag)) + blank + self.text(rest)

    def _atom(self, found: re.Match[bytes]) -> bytes:
        atom: bytes = found[0]
        bare = atom.lstrip(_EDGES)
        before = atom[: len(atom) - len(bare)]
        bare = bare.rstrip(_EDGES)
        return before + self._bare(bare) + atom[len(before) + len(bare) :]

    def _bare(self, atom: bytes) -> bytes:
        if atom in self._users:
            return self.user(atom)
        if b"-" in atom and atom.lower() in kept.SERVER_WORDS:  # as SCRAM-SHA-256
            return atom
        if b"@" in atom:
            self._removed["mail addresses"] += 1
            return addresses.address(self._keys, atom)
        if addresses.is_ipv4(atom) or addresses.is_ipv6(atom):
            self._removed["IP addresses"] += 1
            return addresses.place(self._keys, atom)
        if addresses.is_host(atom) and not all(
            word in kept.SERVER_WORDS for word in _RUN.findall(atom.lower())
        ):
            self._removed["host names"] += 1
            return addresses.host(self._keys, atom)
        return _RUN.sub(self._word, atom)

    def _word(self, found: re.Match[bytes]) -> bytes:
        word: bytes = found[0]
        if word.lower() in _WORDS:
            return word if not word.isdigit() else fill(word)
        self._removed["words of the server"] += 1
        return fill(word)
