"""Whatever is sent, and however it is cut, what is not known to be harmless is not told."""

from __future__ import annotations

import base64

from hypothesis import example, given
from hypothesis import strategies as st

from popproxy.pop3 import Side
from popproxy.pop3.grammar import COMMANDS
from popproxy.privacy import Policy
from tests.support.core import Turn, at_random
from tests.support.leaks import forms
from tests.support.recording import lines, told

CANARY = "Zq7%kelp+9/Xw=v"
POLICIES = st.sampled_from(
    [
        Policy(),
        Policy(body="headers"),
        Policy(body="none"),
        Policy(mask_users=True, pseudonym_key=b"k" * 32),
    ]
)


def found(output: bytes) -> list[str]:
    """The forms of the canary that an output holds."""
    low = output.lower()
    return [name for name, form in forms(CANARY).items() if form in low]


_WITH_ARGUMENT = st.sampled_from(
    sorted({*COMMANDS, b"pass", b"Pass\t", b" PASS", b"\xef\xbb\xbfPASS", b"auth plain", b"X-NEW"})
)
_SECRETS = st.sampled_from(
    [
        CANARY.encode(),
        base64.b64encode(b"\0ada\0" + CANARY.encode()),
        CANARY.encode() + b" and more",
        b"x\xff " + CANARY.encode(),
    ]
)
_ANSWERS = st.sampled_from(
    [
        b"+OK",
        b"-ERR",
        b"+OK %b",
        b"-ERR what is %b?",
        b"+",
        b"+ %b",
        b"junk %b",
        b"",
        b"+OK\r\n%b\r\n.",
    ]
)
_ENDS = st.sampled_from([b"\r\n", b"\r\n", b"\n"])

_STEP = st.tuples(_WITH_ARGUMENT, _SECRETS, _ENDS, _ANSWERS)


@given(st.lists(_STEP, max_size=8), POLICIES, st.integers(0, 99), st.binary(max_size=30))
@example([(b"PASS", CANARY.encode(), b"\r\n", b"-ERR what is %b?")], Policy(), 0, b"")
@example([(b"AUTH X", CANARY.encode(), b"\r\n", b"+ %b")], Policy(), 0, b"")
def test_p01_p04_a_canary_is_never_told(
    steps: list[tuple[bytes, bytes, bytes, bytes]], policy: Policy, seed: int, noise: bytes
) -> None:
    conversation: list[Turn] = [(Side.SERVER, b"+OK ready\r\n"), (Side.CLIENT, noise + b"\r\n")]
    for keyword, secret, line_end, answer in steps:
        if keyword.strip() in (b"USER", b"APOP"):
            keyword += b" ada"  # they show a name, wherever it stands
        conversation += [
            (Side.CLIENT, keyword + b" " + secret + line_end),
            (Side.SERVER, answer.replace(b"%b", secret) + b"\r\n"),
        ]
    records = told(conversation, policy, cut=at_random(seed))
    assert found(lines(records)) == []


@given(
    st.lists(st.tuples(st.sampled_from([*Side]), st.binary(max_size=60)), max_size=12),
    POLICIES,
    st.integers(0, 99),
)
def test_p73_any_traffic_is_recorded(
    traffic: list[tuple[Side, bytes]], policy: Policy, seed: int
) -> None:
    records = told(traffic, policy, cut=at_random(seed))
    assert lines(records).count(b"\n") == len(records)


@given(st.lists(_STEP, min_size=1, max_size=4), POLICIES)
def test_what_is_told_does_not_depend_on_the_cut_but_for_reads_and_times(
    steps: list[tuple[bytes, bytes, bytes, bytes]], policy: Policy
) -> None:
    conversation: list[Turn] = [(Side.SERVER, b"+OK ready\r\n")]
    for keyword, secret, line_end, answer in steps:
        conversation += [
            (Side.CLIENT, keyword + b" " + secret + line_end),
            (Side.SERVER, answer.replace(b"%b", secret) + b"\r\n"),
        ]
    outcomes = []
    for seed in (1, 2):
        records = told(conversation, policy, cut=at_random(seed))
        outcomes.append([(type(each), getattr(each, "raw", None)) for each in records])
    assert outcomes[0] == outcomes[1]
