"""What stays on purpose: words that say what a mail is made of, and nothing of who or what about.

This is the allow-list of `popproxy share`. What is not in it is replaced, and the proof that a
bundle holds nothing of its source knows no other exception. All words are in small letters.
"""

from __future__ import annotations

import re
from typing import Final

from popproxy.pop3.grammar import COMMANDS


def _words(text: str) -> frozenset[bytes]:
    return frozenset(text.lower().encode().split())


HEADER_NAMES: Final = _words("""
    Accept-Language Apparently-To Archived-At ARC-Authentication-Results ARC-Message-Signature
    ARC-Seal Authentication-Results Auto-Submitted Autocrypt Bcc Cc Comments Content-Base
    Content-Class Content-Description Content-Disposition Content-Duration Content-Features
    Content-ID Content-Language Content-Length Content-Location Content-MD5
    Content-Transfer-Encoding Content-Type Date Deferred-Delivery Delivered-To Delivery-Date
    Diagnostic-Code Action Arrival-Date Final-Recipient Last-Attempt-Date Original-Envelope-Id
    Original-Recipient Received-From-MTA Remote-MTA Reporting-MTA Status
    Disposition-Notification-Options Disposition-Notification-To DKIM-Signature
    DomainKey-Signature Encoding Encrypted Envelope-To Errors-To Expires Expiry-Date Face
    Feedback-ID From Importance In-Reply-To Keywords Lines List-Archive List-Help List-ID List-Owner
    List-Post List-Subscribe List-Unsubscribe List-Unsubscribe-Post Mail-Followup-To Mail-Reply-To
    Mailing-List Message-Context Message-ID MIME-Version Newsgroups Obsoletes Old-Return-Path
    Organization Original-Message-ID Original-Recipient Path Precedence Priority Received
    Received-SPF References Reply-By Reply-To Require-Recipient-Valid-Since Resent-Bcc Resent-Cc
    Resent-Date Resent-From Resent-Message-ID Resent-Reply-To Resent-Sender Resent-To Return-Path
    Return-Receipt-To Sender Sensitivity Solicitation Status Subject Supersedes Thread-Index
    Thread-Topic To User-Agent Xref
""")
"""Names of header fields. Those that begin with X- stay, too, unless a word of them is private."""

CONTENT_WORDS: Final = _words("""
    text plain html enriched richtext rtf calendar vcard csv xml css javascript directory
    multipart mixed alternative related signed report digest parallel encrypted form data
    application octet stream octet-stream pdf zip gzip msword json postscript ms tnef ms-tnef
    vnd openxmlformats officedocument wordprocessingml spreadsheetml presentationml document sheet
    presentation excel powerpoint oasis opendocument pgp pgp-signature pgp-encrypted pgp-keys keys
    pkcs7 pkcs7-signature pkcs7-mime signature mime smime ics x yenc uuencode
    ybegin ypart yend
    image png jpeg jpg gif gif87a gif89a bmp
    tiff svg webp audio mpeg wav ogg mp4 mp3 video font
    message rfc822 delivery status delivery-status disposition notification partial external body
    headers rfc822-headers global feedback reply
    charset name filename boundary format flowed fixed delsp yes no protocol micalg type start
    report-type reporttype method request access title size number total id sha sha1 sha256 sha512
    md5 quoted printable quoted-printable base64 7bit 8bit binary attachment inline
    us ascii us-ascii utf utf8 utf7 utf16 iso windows koi8 cp gb2312 gbk gb18030 big5 shift jis euc
    kr jp cn
""")
"""Words of Content-Type and the other fields of MIME (RFC 2045 and those behind it)."""

TRACE_WORDS: Final = _words("""
    from by with id for via esmtp esmtps esmtpa esmtpsa smtp smtps smtpa lmtp lmtps lmtpa pop3 pop3s
    imap imaps http https local unknown localhost envelope helo ehlo using tls tlsv1 ssl version
    cipher bits verify verified not no none yes client certificate requested ok auth authenticated
    spf pass fail softfail neutral temperror permerror dkim dmarc arc header mailfrom policy action
    bulk list junk auto generated replied normal high low urgent non mailto cid rfc822 dns x
    a b bh c d h i q s t v z l k r cv rsa sha256 sha1 ed25519 relaxed simple delayed delivered
    failed relayed expanded
    sun mon tue wed thu fri sat jan feb mar apr may jun jul aug sep oct nov dec
    january february march april june july august september october november december
    monday tuesday wednesday thursday friday saturday sunday utc gmt
""")
"""Words of Received and of other fields that mail systems write for each other."""

SERVER_WORDS: Final = _words("""
    ok err error server ready pop3 pop service mail maildrop mailbox mailboxes drop message messages
    msg msgs octets octet bytes byte user name username password pass send enter your please is are
    was were be been has have had logged login logon logout log in out on off to of for the a an and
    or not no none only already accepted valid invalid unknown command commands argument arguments
    syntax wrong bad missing such try again later now goodbye good bye welcome closing connection
    connections close closed signing sign sayonara begin end start started tls stls ssl negotiation
    capability capabilities list follows follow unique id identifier listing uidl top lines line
    marked deleted delete deletion undeleted reset dele retr stat noop rset quit capa last lang utf8
    apop auth authentication authenticate authenticated authorization required failed failure
    failures success successful successfully succeeded succesful denied refused locked lock unable
    cannot can could will exists new old total first second seconds minutes hours days timeout time
    idle disconnected disconnecting inactivity too many long large big short empty state transaction
    update use used in-use sys temp perm login-delay expire never sasl plain cram md5 cram-md5
    digest digest-md5 scram sha scram-sha-1 scram-sha-256 scram-sha-1-plus scram-sha-256-plus 1 256
    plus gssapi ntlm external anonymous xoauth2 oauthbearer oauth resp-codes codes resp_codes
    auth-resp-code resp pipelining implementation response responses code supported support here it
    there this that with from by help available following ready. xtnd xlst hidden visible recent
    unread read seen left at as if you may must do does done got get
    temporary temporarily permanent internal system problem unavailable still removed
    remove purged waiting wait encryption encrypted secure insecure cleartext plaintext disabled
    enabled disallowed allowed allow range number numbers size sizes
    multi language languages implementation
    dovecot courier cyrus qpopper mailutils popa3d solid exchange microsoft zimbra teapop popproxy
""")
"""Words of status lines, of CAPA and of HELP, as servers of many kinds write them."""

OWN_WORDS: Final = _words("""
    client server upstream closed reset leg both shutdown timeout idle login limit failed tls stls
    required answered refused hidden passed after handshake followed no records lost reason queue
    full disk slow process popproxy failed to record this session it was forwarded unchanged too
    connection connect dns name resolution resolve loop certificate expired trust self signed issued
    authority key keys logged alert the of a an its is are not and or by with for in on at from that
    than more most error cause end ended before protocol version cipher change spec application data
    unexpected message bad record mac decrypt decryption overflow decompression failure illegal
    parameter unknown ca access denied decode export restriction insufficient security internal
    inappropriate fallback user canceled cancelled missing extension unsupported unrecognized status
    response psk identity peer popproxy's side command commands line lines
    cn o ou c st l dc email serial number let's encrypt
    raw pop3 text arguments octets listing capa sasl
    channel binding removed wanted distrusts injected behind unavailable shared yet valid pin
    mismatch added plain port issuer wrong own trouble revoked other
    aes aes128 aes256 gcm ccm ccm8 chacha20 poly1305 camellia camellia128 camellia256 aria128
    aria256 cbc sha sha1 sha256 sha384 ecdhe dhe ecdsa rsa psk dss anon des cbc3 128 256 384
""")
"""Words of what popproxy itself says in records: reasons, alerts and ciphers of TLS, findings."""

SERVER_NOUNS: Final = _words("""
    octets octet bytes byte messages message msgs msg mails mail lines line new old deleted visible
    hidden recent unread seen seconds minutes days hours total
""")
"""What a number in a server's text counts; other numbers there may be anything."""

TOP_LEVEL: Final = _words(
    "com org net edu gov mil int info biz arpa local localdomain lan home internal test invalid"
    " localhost"
)
"""Last labels of host names that stay: they name no country."""

HOST_LABELS: Final = _words("www mail pop pop3 pops imap smtp mx mx1 mx2 mx3 in-addr ip6 www")
"""Other labels of host names that stay."""

HTML_NAMES: Final = _words("""
    a abbr acronym address applet area article aside audio b base basefont bdi bdo big blink
    blockquote body br button canvas caption center cite code col colgroup data datalist dd del
    details dfn dialog dir div dl doctype dt em embed fieldset figcaption figure font footer form
    frame frameset h1 h2 h3 h4 h5 h6 head header hr html i iframe img input ins kbd label legend li
    link main map mark marquee menu meta meter nav noframes noscript object ol optgroup option
    output p param picture pre progress q s samp script section select small source span strike
    strong style sub summary sup table tbody td template textarea tfoot th thead time title tr track
    tt u ul var video wbr o:p
    align alt bgcolor border cellpadding cellspacing charset class clear cols colspan color content
    dir face height href hspace http-equiv id lang media method name nowrap rel rows rowspan size
    src style target title type valign value vspace width xmlns
    left right center middle top bottom none auto public dtd xhtml strict transitional
    frameset en w3c http https mailto cid tel file
""")
"""Elements, attributes and a few values of HTML."""

HTML_ENTITIES: Final = _words("nbsp amp lt gt quot apos")

EXTENSIONS: Final = _words("""
    pdf doc docx xls xlsx ppt pptx odt ods odp txt rtf csv htm html xml json zip gz tar tgz rar 7z
    png jpg jpeg gif bmp tif tiff svg webp ico mp3 mp4 wav ogg avi mov eml msg ics vcf p7s p7m p7c
    asc sig pgp gpg dat bin exe js css log
""")
"""Ends of file names that stay: programs choose what to do by them."""

CALENDAR_WORDS: Final = _words("""
    begin end vcalendar vevent vtimezone standard daylight vcard vtodo valarm version prodid method
    uid dtstamp dtstart dtend summary description location organizer attendee sequence status class
    tzid tzoffsetfrom tzoffsetto rrule
""")
"""Names of lines in iCalendar and vCard (RFCs 5545 and 6350)."""

KEYWORDS: Final = frozenset(word for keyword in COMMANDS for word in keyword.lower().split())
"""Keywords of commands, which peers echo."""

_WORD: Final = re.compile(rb"[a-z0-9]+")

ALL: Final = frozenset(
    word
    for words in (
        HEADER_NAMES, CONTENT_WORDS, TRACE_WORDS, SERVER_WORDS, TOP_LEVEL, HOST_LABELS, HTML_NAMES,
        HTML_ENTITIES, EXTENSIONS, CALENDAR_WORDS, KEYWORDS, OWN_WORDS,
    )
    for one in words
    for word in _WORD.findall(one)
)  # fmt: skip
"""All of it, as single words."""
