"""Every member of every record is decided on: kept, replaced, or left out."""

from __future__ import annotations

import typing

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from popproxy.privacy.sanitise import Keys, Sanitiser, fields, kept, sanitise
from popproxy.privacy.sanitise.words import says_nothing
from popproxy.records import RECORD_TYPES, Record, json_schema
from tests.support.private_mail import words
from tests.support.records import BY_ACTION

PARTS = {name: part for name, part in json_schema()["$defs"].items() if "properties" in part}


def structs(
    kind: type[msgspec.Struct], seen: set[type[msgspec.Struct]]
) -> set[type[msgspec.Struct]]:
    """A record's type and those of its parts."""
    if kind in seen:
        return seen
    seen.add(kind)

    def walk(hint: object) -> None:
        origin = typing.get_origin(hint)
        if isinstance(origin, type) and issubclass(origin, msgspec.Struct):
            structs(origin, seen)
        elif isinstance(hint, type) and issubclass(hint, msgspec.Struct):
            structs(hint, seen)
        for argument in typing.get_args(hint):
            walk(argument)

    for hint in typing.get_type_hints(kind, include_extras=True).values():
        walk(hint)
    return seen


def all_members() -> dict[str, tuple[type[msgspec.Struct], str]]:
    kinds: set[type[msgspec.Struct]] = set()
    for kind in RECORD_TYPES.values():
        structs(kind, kinds)
    return {
        f"{kind.__name__}.{name}": (kind, name) for kind in kinds for name in kind.__struct_fields__
    }


@pytest.mark.parametrize("member", sorted(all_members()))
def test_every_member_is_decided_on(member: str) -> None:
    kind, name = all_members()[member]
    assert (fields.rule_of(kind, name) is None) == (member in fields.LEFT_OUT), (
        f"decide in popproxy/privacy/sanitise/fields.py what `popproxy share` does with {member}"
    )


def test_no_rule_is_for_nothing() -> None:
    used = {
        f"{base.__name__}.{name}" for kind, name in all_members().values() for base in kind.__mro__
    }
    assert set(fields.RULES) <= used


def test_the_schema_has_no_part_that_is_not_looked_at() -> None:
    known = {member.partition(".")[0] for member in all_members()}
    assert {name.partition("_")[0] for name in PARTS} <= known


def _is_letter(octet: int) -> bool:
    return octet < 0x80 and chr(octet).isalpha()


def values(record: Record) -> set[bytes]:
    """Words of all texts in a record."""
    found: set[bytes] = set()

    def walk(value: object) -> None:
        if isinstance(value, str | bytes):
            found.update(words(value if isinstance(value, bytes) else value.encode()))
        elif isinstance(value, dict):
            walk([*value.keys(), *value.values()])
        elif isinstance(value, list | tuple):
            for one in value:
                walk(one)

    walk(msgspec.to_builtins(record, builtin_types=(bytes,)))
    return found


@pytest.mark.parametrize("action", BY_ACTION)
def test_any_record_loses_its_words(action: str) -> None:
    @settings(max_examples=40, deadline=None)
    @given(BY_ACTION[action], st.binary(min_size=32, max_size=32))
    def check(record: Record, key: bytes) -> None:
        (made,) = sanitise([record], Sanitiser(Keys(key)))
        assert type(made) is type(record)
        known = kept.ALL | {word for name in PARTS.values() for word in words(str(name).encode())}
        before = {word for word in values(record) if word not in known}
        texts = {word for word in before if sum(map(_is_letter, word)) > 3}
        after = values(made)
        assert not {word for word in texts & after if not says_nothing(word)}

    check()
