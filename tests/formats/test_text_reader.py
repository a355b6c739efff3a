"""How a transcript is read that is torn, cut, glued, edited, or none."""

from __future__ import annotations

from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popproxy.formats import jsonl
from popproxy.formats.errors import FormatError, TornError
from popproxy.formats.text import HEADER, TextWriter, read
from popproxy.records import Record
from tests.support.capture import plain_session
from tests.support.records import HARMFUL, octets, records, texts

RECORDS = plain_session().records


def pieces_of(capture: list[Record]) -> list[bytes]:
    writer = TextWriter()
    return [writer.write(record) for record in capture]


PIECES = pieces_of(RECORDS)
FILE = b"".join(PIECES)


def lines_of(file: bytes) -> list[bytes]:
    return file.splitlines(keepends=True)


def test_a_torn_last_record_is_told_after_all_the_records_before_it() -> None:
    for count, piece in enumerate(PIECES):
        whole = b"".join(PIECES[:count])
        for size in range(1, len(piece), 7):
            torn = whole + piece[:size]
            if piece[:size].endswith(b"\n") and piece[:size].splitlines()[-1][:1] in (b"#", b""):
                continue  # only lines of the file so far
            reader = read(lines_of(torn))
            assert list(islice(reader, count)) == RECORDS[:count]
            with pytest.raises(TornError, match="cut off"):
                next(reader)


def test_a_record_of_several_lines_that_ends_early_is_torn_at_any_line() -> None:
    message = next(i for i, piece in enumerate(PIECES) if b"..dot" in piece)
    lines = lines_of(PIECES[message])
    for count in range(1, len(lines)):
        file = b"".join(PIECES[:message]) + b"".join(lines[:count])
        reader = read(lines_of(file))
        assert list(islice(reader, message)) == RECORDS[:message]
        with pytest.raises(TornError) as caught:
            next(reader)
        assert caught.value.line == len(lines_of(b"".join(PIECES[:message]))) + 1


def test_p61_a_record_that_was_cut_off_in_the_middle_of_a_file_is_told_and_the_rest_read() -> None:
    message = next(i for i, piece in enumerate(PIECES) if b"..dot" in piece)
    begun = b"".join(lines_of(PIECES[message])[:3])
    file = b"".join([*PIECES[:message], begun, *PIECES[message:]])
    with pytest.raises(FormatError, match="cut off"):
        list(read(lines_of(file)))
    errors: list[FormatError] = []
    assert list(read(lines_of(file), on_error=errors.append)) == RECORDS
    assert [type(error) for error in errors] == [FormatError]


def test_what_a_second_process_appends_is_read_from_its_header_on() -> None:
    torn = b"".join(PIECES[:9]) + PIECES[9][:30] + b"\n"
    again = plain_session().records
    errors: list[FormatError] = []
    got = list(read(lines_of(torn + FILE), on_error=errors.append))
    assert got[-len(again) :] == again
    assert len(errors) <= 1


def test_behind_an_error_records_are_not_guessed() -> None:
    broken = FILE.replace(b"C: user juergen", b"X: user juergen")
    errors: list[FormatError] = []
    assert list(read(lines_of(broken + FILE), on_error=errors.append)) == RECORDS[:2] + RECORDS
    assert len(errors) == 1
    with pytest.raises(FormatError, match="begins with a time"):
        list(read(lines_of(broken)))


def test_people_may_add_remarks_and_empty_lines() -> None:
    file = b"# look here\n\n#x\n".join([b"", *PIECES])
    assert list(read(lines_of(file))) == RECORDS


def test_line_ends_of_another_system_are_tolerated() -> None:
    assert list(read(lines_of(FILE.replace(b"\n", b"\r\n")))) == RECORDS


def test_a_last_line_without_an_end_is_torn_even_if_it_looks_whole() -> None:
    with pytest.raises(TornError):
        list(read(lines_of(FILE[:-1])))


def test_members_that_are_not_known_are_passed_over() -> None:
    file = FILE.replace(b"mechanism=USER", b'mechanism=USER new="a b" auth.newer={"a":[1,"b c"]}')
    assert list(read(lines_of(file))) == RECORDS


PLACE = "# session a [a]\n# 2025-11-22\n"


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        ("# popproxy transcript, schema popproxy/2\n", r'"popproxy/2".*later'),
        ("# popproxy transcript, schema other\n", r'"other"'),
        ("22:00:00.000000            C: STAT\n", "which session"),
        ("# session a [a]\n22:00:00.000000            C: STAT\n", "date"),
        (PLACE + "22:00:00.000000 [b]            C: STAT\n", "which session"),
        (PLACE + "25:00:00.000000            C: STAT\n", "25:00:00.000000 is no time"),
        ("# 2025-02-30\n", "2025-02-30 is no date"),
        ("# session 5 [a]\n", '"5" is no name'),
        ('# session "a [a]\n', "is no name"),
        ("PASS x\n", 'not as "PASS x"'),
        ("   S: +OK\n", "continues no record"),
        (PLACE + "22:00:00.000000* S: a\n  junk\n", "continues no record"),
        (PLACE + "22:00:00.000000* S: a\n  C: b\n", "one side"),
        (PLACE + "22:00:00.000000* S: a\n22:00:00.000000 S: b\n", "cut off"),
        (PLACE + "22:00:00.000000* S: a\n\n", "cut off"),
        (PLACE + "22:00:00.000000* S: a\n# b\n", "cut off"),
        (PLACE + "22:00:00.000000 # \n", "begins with the kind"),
        (PLACE + "22:00:00.000000 # nonsense a=b\n", 'event.action is "nonsense"'),
        (PLACE + "22:00:00.000000 # gap reason\n", 'key=value, not "reason"'),
        (PLACE + "22:00:00.000000 # gap reason=[1\n", r'"\[1" is no value'),
        (PLACE + "22:00:00.000000 # gap reason=" + "[" * 100_000 + "\n", "is no value"),
        (PLACE + "22:00:00.000000 # gap reason=1\n", "does not make a record"),
        (PLACE + "22:00:00.000000 # gap reason=a gap.reason.b=a\n", "does not fit"),
        (PLACE + "22:00:00.000000 # session.start client=a:b\n", "does not make a record"),
        (PLACE + "22:00:00.000000 # gap reason=a session.seq=" + "9" * 5000 + "\n", "line 3"),
    ],
)
def test_what_is_no_transcript_is_an_error_that_says_why(file: str, reason: str) -> None:
    with pytest.raises(FormatError, match=reason):
        list(read(lines_of(file.encode())))


def test_what_is_not_utf_8_is_an_error() -> None:
    with pytest.raises(FormatError, match="line 1: this is not UTF-8"):
        list(read([b"\xff\n"]))


@given(records, st.integers(0, 600), octets)
def test_junk_in_a_transcript_raises_nothing_else(record: Record, place: int, junk: bytes) -> None:
    whole = TextWriter().write(record)
    place += len(HEADER) - 20
    check_only_format_errors(whole[:place] + junk + whole[place:])


TOKENS = [
    *("22:00:00.000000 ", "22:00:00.000000*", "[a] ", "   0.500000 ", "S: +OK 2 5718", "C: STAT"),
    *("# pop3.command", "# gap reason=x", " seq=1", " x=[[", ' raw="', "=", "\n", "          "),
    *("# popproxy transcript, schema popproxy/1\n", PLACE, " state=A", " event=1", " pop3.seq=2"),
    *(
        " a.b.c=1",
        " text=x",
        " status=-",
        " tls.record_types=1",
        " session.seq=99999999999999999999",
    ),
    *("\\", "\\x0a", " server=a:99999999999", " event.duration=1.5", " side=client", " pop3=1"),
    *(" segments=[[99999999999999999999,1]]", "99999999999999999.000000", " raw=a", " octets=-1"),
]


@given(st.lists(st.sampled_from(TOKENS) | texts, max_size=20).map("".join))
def test_tokens_in_any_order_raise_nothing_else(text: str) -> None:
    check_only_format_errors((PLACE + text + "\n").encode())


def check_only_format_errors(file: bytes) -> None:
    errors: list[FormatError] = []
    for record in read(lines_of(file), on_error=errors.append):
        jsonl.encode(record)  # what was read can be written
    assert not any(set(str(error)) & set(HARMFUL) for error in errors)
