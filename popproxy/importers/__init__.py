"""Other programs' logs as captures.

An importer reads a log and says what was on the wire: octets with their side
(`popproxy.importers.source`). From there the way is that of live traffic: `popproxy.pop3.Session`
reads the octets, `popproxy.privacy.Recorder` makes records of them, and masks them
(`popproxy.importers.way`). No importer makes a record, so that none can forget to mask one.

A log is told by its content (`recognise`). What an importer had to guess is said in the session's
first record (`source.inferred`); what the log lacks is a `gap` record, and where the framing needs
an octet that is not there, a final dot for instance, it is put in and its record marked `inferred`.
"""

from popproxy.importers.kinds import KINDS, recognise
from popproxy.importers.source import LogError
from popproxy.importers.way import read

__all__ = ["KINDS", "LogError", "read", "recognise"]
