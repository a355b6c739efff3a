"""Records to records: what is left of a capture that is given away (`popproxy share`)."""

from popproxy.privacy.sanitise.capture import Level, Sanitiser, sanitise
from popproxy.privacy.sanitise.keys import Keys

__all__ = ["Keys", "Level", "Sanitiser", "sanitise"]
