"""Mail as a person reads it: fields, and the tree of parts."""

from __future__ import annotations

from email.message import EmailMessage

from hypothesis import given
from hypothesis import strategies as st

from popproxy.tools import mail
from popproxy.tools.mail import Part


def test_a_message_with_an_attachment() -> None:
    message = EmailMessage()
    message["Subject"] = "Grüße"
    message.set_content("Hallo\n")
    message.add_alternative("<p>Hallo</p>\n", subtype="html")
    message.add_attachment(b"x" * 3_000, maintype="application", subtype="pdf", filename="März.pdf")
    read = mail.read(message.as_bytes().replace(b"\n", b"\r\n"))
    root = read.root
    assert root is not None
    assert root.type == "multipart/mixed"
    alternative, pdf = root.parts
    assert [part.type for part in alternative.parts] == ["text/plain", "text/html"]
    assert (alternative.parts[0].charset, alternative.parts[0].lines) == ("utf-8", 1)
    assert (pdf.type, pdf.name, pdf.disposition) == ("application/pdf", "März.pdf", "attachment")
    assert (pdf.encoding, pdf.lines, pdf.octets) == ("base64", 53, 4_106)


def test_fields_are_unfolded_and_kept_in_order() -> None:
    read = mail.read(b"B: one\r\n\ttwo\r\nA:three\r\nno field\r\nB: \xff\r\n\r\nX: body\r\n")
    assert read.fields == (("B", " one\ttwo"), ("A", "three"), ("B", " \udcff"))
    assert mail.read(b"A: b\r\n\r\nX: body\r\n").root == Part(type="text/plain", octets=9, lines=1)


def test_many_boundaries_are_not_followed() -> None:
    part = b"Content-Type: multipart/mixed; boundary=a%d\r\n\r\n--a%d\r\n"
    hostile = b"".join(part % (number, number) for number in range(300))
    assert mail.read(hostile + b"\r\n" * 100_000).root is None
    root = mail.read(hostile).root
    assert root is not None
    depth = 0
    while root.parts:
        (root,) = root.parts
        depth += 1
    assert (depth, root.deeper) == (mail.DEPTH_MOST, 1)


def test_a_part_of_a_message_has_no_tree() -> None:
    assert mail.read(b"Subject: a\r\n\r\n", body=False).root is None


@given(
    st.lists(
        st.sampled_from(
            [
                *(b"Content-Type: multipart/mixed; boundary=b", b"Content-Type: ;;=?", b"--b"),
                *(b"--b--", b"", b"text", b"Content-Type: message/rfc822", b"\xff\x00\x1b"),
                *(b"Content-Disposition: attachment; filename*=utf-8''%ff", b"Subject: =?x?q?=?="),
                *(b"Content-Transfer-Encoding: =?utf-8?q?=0a?=", b" folded", b"Content-Type:"),
            ]
        )
    ).map(b"\r\n".join)
    | st.binary(max_size=200)
)
def test_anything_is_a_message(octets: bytes) -> None:
    mail.read(octets)
