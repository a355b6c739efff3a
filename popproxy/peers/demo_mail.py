"""The demonstration's account and its two messages, all of our own words.

They are small, but hold what a log of POP3 has to get right: two alternatives in each, as mail
programs send them, quoted-printable text, 8-bit text, and a line that begins with a dot.
"""

from __future__ import annotations

from popproxy.peers.accounts import Accounts
from popproxy.peers.maildrop import Maildrop, MemoryMaildrop

DEMO_USER = "mail@example.com"
DEMO_PASSWORD = "demo-wren-harp-thimble"  # noqa: S105 # no secret: shown to whoever tries the demo
"""Long, and found nowhere else in the demonstration: if it turns up in an output, it leaked."""

_FIRST = """\
Return-Path: <wren@example.org>
Received: from harbour.example.org ([192.0.2.17])
\tby mail.example.com; Tue, 04 Nov 2025 08:15:09 +0000
From: "Wren Harper" <wren@example.org>
To: <mail@example.com>
Subject: The kettle is on
Date: Tue, 04 Nov 2025 08:15:07 +0000
Message-ID: <kettle.20251104081507@example.org>
MIME-Version: 1.0
Content-Type: multipart/alternative;
\tboundary="----=_Leaf_0001"
Content-Language: en-gb

This is a message in two forms, one for each kind of reader.

------=_Leaf_0001
Content-Type: text/plain; charset="us-ascii"
Content-Transfer-Encoding: 7bit

Good morning,

the kettle is on, the rain has stopped, and there is half a lemon
cake that ought not to see the evening. Come by whenever you like.

Wren

------=_Leaf_0001
Content-Type: text/html; charset="us-ascii"
Content-Transfer-Encoding: quoted-printable

<html>
<head>
<style>
p { margin: 0 0 0.6em 0; color: #234; }
</style>
</head>
<body lang=3D"en">
<p>Good morning,</p>
<p>the kettle is <b>on</b>, the rain has stopped, and there is half a lemo=
n cake that ought not to see the evening. Come by whenever you like.</p>
<p>Wren</p>
</body>
</html>

------=_Leaf_0001--
"""

_SECOND = """\
Return-Path: <oskar@example.org>
Received: from workshop.example.org ([192.0.2.23])
\tby mail.example.com; Wed, 05 Nov 2025 17:40:33 +0000
From: "Oskar Lindqvist" <oskar@example.org>
To: <mail@example.com>
Subject: Dots, and songs for Friday
Date: Wed, 05 Nov 2025 18:40:31 +0100
Message-ID: <dots.20251105184031@example.org>
MIME-Version: 1.0
Content-Type: multipart/alternative;
\tboundary="----=_Leaf_0002"
Content-Language: en-gb

This is a message in two forms, one for each kind of reader.

------=_Leaf_0002
Content-Type: text/plain; charset="utf-8"
Content-Transfer-Encoding: 8bit

Hello again,

you asked which files to copy to the new machine. Only these:

.profile
.vimrc
notes/café-songs.txt

Yes, two of them begin with a dot; the post has never minded.
The songs are for Zoë’s café on Friday – bring your “good” ears.

Oskar

------=_Leaf_0002
Content-Type: text/html; charset="utf-8"
Content-Transfer-Encoding: quoted-printable

<html>
<head>
<style>
.file { font-family: monospace; }
</style>
</head>
<body lang=3D"en">
<p>Hello again,</p>
<p>you asked which files to copy to the new machine. Only these:</p>
<p class=3D"file">.profile<br>.vimrc<br>notes/caf=C3=A9-songs.txt</p>
<p>Yes, two of them begin with a dot; the post has never minded. The songs=
 are for Zo=C3=AB=E2=80=99s caf=C3=A9 on Friday =E2=80=93 bring your =E2=80=
=9Cgood=E2=80=9D ears.</p>
<p>Oskar</p>
</body>
</html>

------=_Leaf_0002--
"""

DEMO_MESSAGES = tuple(text.replace("\n", "\r\n").encode() for text in (_FIRST, _SECOND))
"""The messages as RETR brings them, without byte-stuffing."""


def demo_maildrop() -> MemoryMaildrop:
    """Make the demonstration's maildrop, fresh."""
    return MemoryMaildrop(DEMO_MESSAGES)


def demo_accounts(maildrop: Maildrop | None = None) -> Accounts:
    """Make the demonstration's only account.

    Args:
        maildrop: Its maildrop; a fresh `demo_maildrop` if it is None.
    """
    drop = demo_maildrop() if maildrop is None else maildrop
    return Accounts(lambda _user: drop, {DEMO_USER: DEMO_PASSWORD})
