"""A session's records as commands and what belongs to them."""

from popproxy.peers.script import Action, Conversation
from popproxy.records import WireRecord
from popproxy.tools import exchanges
from tests.support.conversations import SECRET, every_conversation
from tests.support.recording import of, said, told, wire


def test_pipelined_commands_find_their_responses() -> None:
    made = exchanges.conversation(
        said(
            "S: +OK ready",
            "C: USER ada",
            "C: PASS secret-word",
            "C: RETR 1",
            "C: NOOP",
            "S: +OK",
            "S: +OK",
            "S: +OK 6 octets",
            "S: text",
            "S: .",
            "S: -ERR",
        )
    )
    greeting, _, login, message, noop = made.exchanges
    assert greeting.greeting is not None
    assert greeting.keyword == ""
    assert login.auth is not None
    assert login.auth.auth.outcome == "success"
    assert [exchange.keyword for exchange in made.exchanges[1:]] == ["USER", "PASS", "RETR", "NOOP"]
    assert message.wire() == b"+OK 6 octets\r\ntext\r\n.\r\n"
    assert noop.response is not None
    assert noop.response.pop3.status == "-ERR"
    assert noop.duration == noop.response.event.duration
    assert noop.began == (noop.command and noop.command.timestamp)


@every_conversation
def test_every_record_of_the_wire_is_in_one_exchange(conversation: Conversation) -> None:
    records = told(
        [
            (turn.side, turn.data)
            for turn in conversation.render(SECRET)
            if turn.action is Action.SEND
        ]
    )
    made = exchanges.conversation(records)
    found: list[WireRecord] = []
    for exchange in made.exchanges:
        found += [*exchange.content, *exchange.sasl, *exchange.lines, *exchange.earlier]
        found += [
            record
            for record in (exchange.greeting, exchange.command, exchange.status, exchange.response)
            if record is not None
        ]
    found.sort(key=lambda record: record.session.seq)
    assert found == of(records, WireRecord)
    assert made.records == records
    assert wire(found, "client") == wire(records, "client")
