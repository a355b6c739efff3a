"""Filters as Wireshark writes them: which exchanges of a capture are wanted.

    pop.request.command == "RETR" and not pop.response.indicator == "+OK"

A filter is parsed into a tree (`popproxy.tools.filter_tree`), which judges one exchange at a time.

    filter     = and-list { ("or" | "||") and-list }
    and-list   = unary { ("and" | "&&") unary }
    unary      = ("not" | "!") unary | "(" filter ")" | test
    test       = field [ operator value | "in" "{" value { [","] value } "}" ]
    operator   = "==" | "!=" | "<" | "<=" | ">" | ">=" | "contains" | "matches" | "~"
"""

from __future__ import annotations

import re
from collections.abc import Callable
from difflib import get_close_matches
from typing import Final, NamedTuple

from popproxy.tools.filter_fields import FIELDS, Field
from popproxy.tools.filter_tree import (
    ORDER,
    All,
    Any,
    Compare,
    Filter,
    Has,
    Not,
    Operator,
    problem_of,
)

DEPTH_MOST: Final = 50
"""Parentheses and negations within each other."""

LENGTH_MOST: Final = 10_000
"""Characters of a filter."""

_SPELLINGS: Final[dict[str, Operator]] = {
    "==": "==",
    "=": "==",
    "eq": "==",
    "!=": "!=",
    "ne": "!=",
    "<": "<",
    "lt": "<",
    "<=": "<=",
    "le": "<=",
    ">": ">",
    "gt": ">",
    ">=": ">=",
    "ge": ">=",
    "contains": "contains",
    "matches": "matches",
    "~": "matches",
    "in": "in",
}
_JOINS: Final = {"and": "and", "&&": "and", "or": "or", "||": "or"}
_NEGATIONS: Final = ("not", "!")
_TOKEN: Final = re.compile(
    r"""\s*(?:(?P<quoted>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')"""
    r"""|(?P<sign>&&|\|\||==|!=|<=|>=|[=<>!~(){},])"""
    r"""|(?P<word>[^\s"'&|=<>!~(){},]+)|(?P<other>\S))""",
    re.DOTALL,
)
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)


class FilterError(Exception):
    """A filter cannot be understood.

    Attributes:
        message: What is wrong.
        text: The filter.
        column: Where, from 0.
        length: Characters that are wrong; at least 1.
        hint: What to do; may be empty.
    """

    def __init__(
        self, message: str, text: str, column: int, length: int = 1, hint: str = ""
    ) -> None:
        super().__init__(message)
        self.message = message
        self.text = text
        self.column = column
        self.length = max(1, length)
        self.hint = hint


def parse(text: str) -> Filter:
    """Read a filter.

    Raises:
        FilterError: It is none.
    """
    if len(text) > LENGTH_MOST:
        raise FilterError(
            f"this filter has more than {LENGTH_MOST:,} characters", text[:60], 0, hint="Shorten it"
        )
    return _Parser(text).whole()


class _Token(NamedTuple):
    """A word, a sign, or a quoted value; empty at the end."""

    kind: str
    text: str
    column: int


class _Parser:
    """Reads one filter, from left to right."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens: list[_Token] = []
        for match in _TOKEN.finditer(text):
            kind = str(match.lastgroup)
            token = _Token(kind, match[kind], match.start(kind))
            if kind == "other":
                what = "this quote has no end" if token.text in "\"'" else "this is no operator"
                hint = {"&": "Write && or and", "|": "Write || or or"}.get(token.text, "")
                raise FilterError(what, text, token.column, 1, hint)
            self._tokens.append(token)
        self._tokens.append(_Token("end", "", len(text.rstrip())))
        self._at = 0

    def whole(self) -> Filter:
        made = self._or(0)
        if self._next.kind != "end":
            raise self._wrong("a filter ends here, or goes on with and, or")
        return made

    @property
    def _next(self) -> _Token:
        return self._tokens[self._at]

    def _take(self) -> _Token:
        token = self._next
        self._at += 1
        return token

    def _wrong(self, what: str, token: _Token | None = None, hint: str = "") -> FilterError:
        token = token or self._next
        return FilterError(what, self._text, token.column, len(token.text), hint)

    def _is(self, *texts: str) -> bool:
        return self._next.kind in ("word", "sign") and self._next.text in texts

    def _or(self, depth: int) -> Filter:
        made = self._list("or", lambda: self._and(depth))
        return Any(made) if len(made) > 1 else made[0]

    def _and(self, depth: int) -> Filter:
        made = self._list("and", lambda: self._unary(depth))
        return All(made) if len(made) > 1 else made[0]

    def _list(self, join: str, one: Callable[[], Filter]) -> tuple[Filter, ...]:
        made = [one()]
        while self._next.kind in ("word", "sign") and _JOINS.get(self._next.text) == join:
            self._take()
            made.append(one())
        return tuple(made)

    def _unary(self, depth: int) -> Filter:
        if depth > DEPTH_MOST:
            raise self._wrong(f"more than {DEPTH_MOST} parentheses and negations in each other")
        if self._is(*_NEGATIONS):
            self._take()
            return Not(self._unary(depth + 1))
        if self._is("("):
            opening = self._take()
            made = self._or(depth + 1)
            if not self._is(")"):
                what = "this parenthesis is not closed"
                raise (
                    self._wrong(what, opening)
                    if self._next.kind == "end"
                    else self._wrong("here belongs and, or, or a closing parenthesis")
                )
            self._take()
            return made
        return self._comparison()

    def _comparison(self) -> Filter:
        field = self._field()
        if self._next.kind not in ("word", "sign") or self._next.text not in _SPELLINGS:
            if self._next.kind == "quoted":
                raise self._wrong("an operator is missing before this value", hint="As in ==")
            return Has(field)
        token = self._take()
        how = _SPELLINGS[token.text]
        if how in ORDER and field.kind not in ("number", "seconds"):
            raise self._wrong(f"{field.name} is no number, so {how} does not fit it", token)
        if how == "in":
            return Compare(field, how, self._set(field))
        return Compare(field, how, (self._value(field, how),))

    def _field(self) -> Field:
        token = self._next
        if token.kind != "word":
            what = "a field is missing here" if token.kind == "end" else "a field belongs here"
            raise self._wrong(what, hint="As in pop.request.command; `popproxy help reading`")
        field = FIELDS.get(token.text.lower())
        if field is None:
            near = _nearest(token.text.lower())
            hint = f"Did you mean {near}?" if near else "`popproxy help reading` lists the fields"
            raise self._wrong("there is no such field", hint=hint)
        self._take()
        return field

    def _set(self, field: Field) -> tuple[str, ...]:
        if not self._is("{"):
            raise self._wrong("behind in belong values in braces", hint="As in {RETR, TOP}")
        self._take()
        values = [self._value(field, "==")]
        while not self._is("}"):
            if self._is(","):
                self._take()
            values.append(self._value(field, "=="))
        self._take()
        return tuple(values)

    def _value(self, field: Field, how: Operator) -> str:
        token = self._next
        if token.kind not in ("word", "quoted"):
            missing = "a value is missing here" if token.kind == "end" else "a value belongs here"
            raise self._wrong(missing, hint='As in "RETR"')
        value = token.text
        if token.kind == "quoted":
            # In a regular expression a backslash means something; only that of a quote is ours.
            value = _ESCAPED.sub(r"\1", value[1:-1]) if how != "matches" else _regex(value)
        if problem := problem_of(field, how, value):
            raise self._wrong(problem)
        self._take()
        return value


def _regex(quoted: str) -> str:
    r"""Give the regular expression in quotes: only `\"` and `\\` are the quotes' own."""
    return re.sub(r'\\(["\'\\])', r"\1", quoted[1:-1])


def _nearest(name: str) -> str:
    """Give the field that was perhaps meant; empty if none is near."""
    close = get_close_matches(name, FIELDS, n=1, cutoff=0.6)
    if not close:
        close = [field for field in FIELDS if field.rpartition(".")[2] == name.rpartition(".")[2]]
    return close[0] if close else ""
