"""Where in a recording a live client is: which recorded command stands for the one it sends.

`popproxy.tools.replay_match` makes answers of that. *Strict* and *lenient* are explained there.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator
from functools import cached_property
from itertools import islice
from typing import Literal

from popproxy.records import MASK
from popproxy.relay.url import Scheme
from popproxy.tools.replay_login import LOGIN
from popproxy.tools.replay_maildrop import Maildrop
from popproxy.tools.replay_plan import Plan, Step, after, number

Match = Literal["strict", "lenient"]
TlsMode = Literal["never", "stls", "require", "start"]
"""How a replay speaks with its clients: never TLS; TLS by STLS if they ask for it; TLS by STLS
before they log in; TLS from the start."""

BEFORE_LOGIN = frozenset({"CAPA", "QUIT", "STLS", "UTF8", "LANG", "HELP", "NOOP", *LOGIN})
_RECORDED_AS: dict[TlsMode, str] = {
    "never": "never",
    "stls": "stls",
    "require": "stls",
    "start": "start",
}
_NAMED = 3
"""Commands that were passed over and are named."""

Key = tuple[str, str]
"""What has to be the same in two commands for one to stand for the other."""


def key_of(command: str, arguments: str) -> Key:
    """Give a command's key: users, credentials and leading zeros make no difference.

    Args:
        command: Its keyword, or the mask.
        arguments: Its arguments, masked.
    """
    if command in ("USER", "PASS", "APOP", "RPOP"):
        return command, ""
    words = arguments.split()
    if command == "AUTH":
        return command, words[0].upper() if words else ""
    return command, " ".join(
        word.lstrip("0") or "0" if word.isdecimal() else word for word in words
    )


def logs_in(key: Key) -> bool:
    """Say whether a command logs in, or begins to; AUTH alone asks for a list."""
    return key[0] in LOGIN and key != ("AUTH", "")


def tls_mode(plan: Plan, scheme: Scheme) -> TlsMode:
    """Say how a replay speaks with its clients.

    Args:
        plan: The recording.
        scheme: Of the listener's URL. In the clear, STLS is there if it was, or was offered.
    """
    if scheme == "pop3s":
        return "start"
    if scheme == "pop3+stls":
        return "require"
    return "stls" if plan.tls == "stls" or plan.offers_stls else "never"


class Known:
    """What is known of a recording: made once, for all sessions that replay it.

    Attributes:
        plan: The recording.
        places: Which steps a command may stand for, by its key.
        login: Which step led into the TRANSACTION state; None if none did.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.places: dict[Key, list[int]] = defaultdict(list)
        for place, step in enumerate(plan.steps):
            if step.seq is not None:
                self.places[key_of(step.command, step.arguments)].append(place)
        self.login = next((n for n, step in enumerate(plan.steps) if step.logs_in), None)

    @cached_property
    def maildrop(self) -> Maildrop:
        """The maildrop that the session saw."""
        return Maildrop(self.plan.steps)


class Position:
    """Where one client is.

    Args:
        known: The recording.
        match: How commands are matched.
        tls: How the replay speaks with the client.

    Attributes:
        strict: Whether the recorded order counts.
        tls: How the replay speaks with the client.
        passed: How many steps of the recording have come, or have been passed over.
        logged_in: Whether the client is in the TRANSACTION state.
        under_tls: Whether TLS is spoken.
        deleted: Messages that are marked as deleted.
        used_stls: Whether the client has used STLS.
    """

    def __init__(self, known: Known, match: Match, tls: TlsMode) -> None:
        self._known = known
        self._steps = known.plan.steps
        self._served: set[int] = set()
        self._first_unserved: dict[Key, int] = {}
        self.strict = match == "strict"
        self.tls: TlsMode = tls
        self.passed = 0 if known.plan.greeting is None else 1
        self.logged_in = False
        self.under_tls = tls == "start"
        self.deleted: frozenset[int] = frozenset()
        self.used_stls = False

    @property
    def ended(self) -> bool:
        """Whether the whole recording has been passed."""
        return self.passed >= len(self._steps)

    @property
    def tls_differs(self) -> bool:
        """Whether TLS is another than the recorded client had."""
        return _RECORDED_AS[self.tls] != self._known.plan.tls

    def left(self) -> list[Step]:
        """Give the recorded commands that have not come."""
        end = self._known.plan.end
        # What was sent in advance when the server had ended already may come or not.
        last = len(self._steps) if end.kind == "wait" else end.after
        return [self._steps[place] for place in self._counted(self.passed, last)]

    def find(self, key: Key, name: str) -> tuple[int | None, str]:
        """Find the step that a command stands for, and go there.

        Args:
            key: The command's.
            name: What to call the command.

        Returns:
            Which step, or None; and how the client departs from the recording by that, in words.
        """
        if not self.strict:
            return self.alike(key), ""
        end, any_login = len(self._steps), False
        if logs_in(key) and not self.logged_in and self._known.login is not None:
            end, any_login = self._known.login + 1, True
        place = self.ahead(key, end)
        if place is None and any_login:
            return None, ""  # there are many ways to log in, and one is as good as another
        if place is not None:
            departure = self._passing_over(place, name, logins=not any_login)
            self.go(place)
            return place, departure
        if key[0] == "CAPA" and (self.used_stls or (not self.logged_in and self.tls_differs)):
            return self.alike(key), ""
        expected = next(self._counted(self.passed, len(self._steps)), None)
        if expected is None:
            return self.alike(key), f"{name} came, and the recording has no more"
        if self._steps[expected].command == MASK:  # what was hidden may have been anything
            self.go(expected)
            return expected, ""
        return self.alike(key), f"{name} came, and {self._steps[expected].title} is next"

    def hidden_next(self) -> int | None:
        """Give the next step if it is one of which anything was hidden."""
        place = next(self._counted(self.passed, len(self._steps)), None) if self.strict else None
        if place is None:
            return None
        step = self._steps[place]
        return place if MASK in (step.command, step.arguments) else None

    def ahead(self, key: Key, end: int | None = None) -> int | None:
        """Find the next step with a key, up to a place, that the client's state allows."""
        end = len(self._steps) if end is None else end
        places = self._known.places.get(key, [])
        due = next(self._counted(self.passed, end), end)
        for index in range(bisect_left(places, self.passed), len(places)):
            place = places[index]
            if place >= end:
                return None
            allowed = self.logged_in or self._steps[place].command in BEFORE_LOGIN
            if place <= due or allowed:
                return place
        return None

    def is_due(self, place: int) -> bool:
        """Say whether nothing that counts lies before a step."""
        return next(self._counted(self.passed, place), None) is None

    def alike(self, key: Key) -> int | None:
        """Find the answer that was recorded in the same situation.

        The first that has not been served; if all have been, the last.
        """
        places = self._known.places.get(key, [])
        start = self._first_unserved.get(key, 0)
        while start < len(places) and places[start] in self._served:
            start += 1
        self._first_unserved[key] = start
        # Failures are for those who fail: whoever replays wants to come in.
        only_ok = key[0] in LOGIN and self._known.login is not None
        for place in places[start:]:
            if place not in self._served and self._fits(self._steps[place], only_ok=only_ok):
                return place
        for place in reversed(places):
            if self._fits(self._steps[place], only_ok=only_ok):
                return place
        return None

    def go(self, place: int) -> None:
        """Go on behind a step; what lies before has been passed over."""
        for step in self._steps[self.passed : place]:
            self._mark(step)
        self.passed = place + 1

    def serve(self, place: int) -> Step:
        """Note that a step's answer is served, and what follows from it."""
        step = self._steps[place]
        self._served.add(place)
        self._mark(step)
        self.logged_in |= step.logs_in
        return step

    def _mark(self, step: Step) -> None:
        if step.ok:
            self.deleted = after(step.command, step.arguments, self.deleted)

    def _passing_over(self, place: int, name: str, *, logins: bool) -> str:
        """Say what is passed over on the way to a step."""
        passed = [self._steps[one] for one in self._counted(self.passed, place)]
        passed = [step for step in passed if logins or step.command not in LOGIN]
        if not passed:
            return ""
        titles = ", ".join(step.title for step in islice(passed, _NAMED))
        more = f" and {len(passed) - _NAMED} more" if len(passed) > _NAMED else ""
        return f"{name} came before {titles}{more}"

    def _counted(self, start: int, end: int) -> Iterator[int]:
        """Give the steps of a part of the recording that a client has to take."""
        steps, login = self._steps, self._known.login
        for place in range(start, end):
            step = steps[place]
            behind_stls = place > 0 and steps[place - 1].begins_tls and step.command == "CAPA"
            if step.seq is None or step.command == "STLS" or behind_stls:
                continue
            if self.logged_in and login is not None and place <= login:
                continue
            yield place

    def _fits(self, step: Step, *, only_ok: bool) -> bool:
        if only_ok and not step.ok:
            return False
        if (step.state == "TRANSACTION") != self.logged_in and step.command != "QUIT":
            return False
        if step.command == "CAPA":
            return step.under_tls == self.under_tls or self.tls_differs
        if step.command in ("STAT", "LIST", "UIDL") and not step.arguments:
            return step.deleted == self.deleted
        if step.command in ("LIST", "UIDL", "RETR", "TOP", "DELE"):
            message = number(step.arguments.strip().partition(" ")[0])
            return (message in step.deleted) == (message in self.deleted)
        return True
