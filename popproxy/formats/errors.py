"""What can be wrong with a capture that is read back."""

from __future__ import annotations

from popproxy.formats.escape import visible

_QUOTED = 60
"""Characters of a file that a message quotes at most."""


class FormatError(Exception):
    """A capture cannot be read at some place.

    Attributes:
        message: What is wrong and what to do about it, in words for a person. Text from the file
            stands in it only as `quoted` gives it, so that it can go to a terminal.
        line: Number of the line in its file, from 1; 0 if it is not known.
    """

    def __init__(self, message: str, line: int = 0) -> None:
        super().__init__(message, line)
        self.message = message
        self.line = line

    def __str__(self) -> str:
        """The message, after the line's number if that is known."""
        return f"line {self.line}: {self.message}" if self.line else self.message


class TornError(FormatError):
    """A capture's last record is not whole; all records before it have been given.

    A program that is killed while it writes leaves such a file, and so does a full disk. A file
    that is still being written may look like this for a moment.
    """


def quoted(text: str) -> str:
    """Make text of a file fit for a message: visible escapes, double quotes, and not long.

    Args:
        text: Anything that stood in a file.
    """
    return f'"{shown(text, _QUOTED)}"'


def shown(text: str, most: int = 200) -> str:
    """Make text that may quote a file, as a decoder's message does, fit for a message of ours.

    Args:
        text: The text.
        most: How many of its characters to show.
    """
    return visible(text[:most]) + ("…" if len(text) > most else "")
