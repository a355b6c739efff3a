"""Dates, all shifted by one offset of whole weeks.

Weeks keep the weekday and the time of day, so that a date stays right, and as long as it was: where
the day gets a second digit, the blank before it makes room (RFC 5322, section 3.3, needs none).

The offset is made such that the capture's first record falls into the first week of 2001. Whoever
knows one date of the capture knows all of them; of the year nothing else is left.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import Final

from popproxy.privacy.sanitise.words import fill, in_text

_ISO: Final = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})(T[0-9]{2}:[0-9]{2}:[0-9]{2}Z)")

EPOCH: Final = datetime(2001, 1, 1, tzinfo=UTC)
"""A Monday; a capture's first record is moved into the week that it begins."""

_WEEK: Final = timedelta(weeks=1)
_MONTHS: Final = (b"jan", b"feb", b"mar", b"apr", b"may", b"jun",
                  b"jul", b"aug", b"sep", b"oct", b"nov", b"dec")  # fmt: skip
_NAMES: Final = rb"Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec"
_CENTURY: Final = 50

MAIL_DATE: Final = (
    rb"(?:\b(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]{0,6},?[ \t]{0,4}(?:\r?\n[ \t])?)?"
    rb"\b[0-9]{1,2}[ \t-](?:" + _NAMES + rb")[a-z]{0,6}[ \t-](?:[0-9]{4}|[0-9]{2})"
    rb"(?:[ \t]{1,2}[0-9]{1,2}:[0-9]{2}(?::[0-9]{2})?(?:[ \t][+-][0-9]{4})?)?(?![0-9A-Za-z])"
)
"""A date as in RFC 5322, section 3.3, and near it, for use in a regular expression."""

_PARTS: Final = re.compile(
    rb"([ \t]?)([0-9]{1,2})([ \t-])(" + _NAMES + rb")([a-z]{0,6})([ \t-])([0-9]{4}|[0-9]{2})",
    re.IGNORECASE,
)


def offset_for(first: datetime) -> timedelta:
    """Give the offset that moves a moment into the week of `EPOCH`.

    Args:
        first: The capture's first moment.

    Returns:
        Whole weeks.
    """
    return -((first - EPOCH) // _WEEK) * _WEEK


def shift(moment: datetime, offset: timedelta) -> datetime:
    """Shift a moment; one that would leave the calendar stays at its edge."""
    try:
        return moment + offset
    except OverflowError:
        return datetime.min.replace(tzinfo=moment.tzinfo)


def shift_mail_date(text: bytes, offset: timedelta) -> bytes:
    """Shift a date that `MAIL_DATE` matches.

    Args:
        text: The date.
        offset: Whole weeks.

    Returns:
        As many octets.
    """
    found = _PARTS.search(text)
    if found is None:  # `MAIL_DATE` holds what `_PARTS` looks for
        return text
    blank, digits, before, month, rest, behind, year = found.groups()
    number = int(year)
    if len(year) == 2:
        number += 2000 if number < _CENTURY else 1900
    try:
        there = date(number, _MONTHS.index(month.lower()) + 1, int(digits)) + offset
    except (ValueError, OverflowError):  # no day of the calendar
        return text[: found.start()] + re.sub(rb"[0-9]", b"0", found[0]) + text[found.end() :]
    if not offset:
        return text
    day = b"%d" % there.day
    if len(day) < len(digits):
        day = b"0" + day
    elif len(day) > len(digits):
        blank, day = (b"", day) if blank else (b"", day[-1:])
    name = _MONTHS[there.month - 1]
    name = name.upper() if month.isupper() else name.title() if month[:1].isupper() else name
    rest = rest if there.month == _MONTHS.index(month.lower()) + 1 else b"x" * len(rest)
    last = b"%0*d" % (len(year), there.year % 10 ** len(year))
    made = blank + day + before + name + rest + behind + last
    return text[: found.start()] + made + text[found.end() :]


def shift_iso_date(text: str, offset: timedelta) -> str:
    """Shift a date and time of ISO 8601 as popproxy writes it; any other text is filled.

    Args:
        text: As `2025-11-22T22:37:46Z`.
        offset: Whole weeks.
    """
    found = _ISO.fullmatch(text)
    try:
        there = date.fromisoformat(found[1]) + offset if found else None
    except (ValueError, OverflowError):
        there = None
    if found is None or there is None:
        return in_text(fill, text)
    return there.isoformat() + found[2]
