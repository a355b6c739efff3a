"""Events to records: what may be told of what was said (masking).

`Recorder` is the only way. A secret that a client sends is hidden where it is sent, and looked for
in all that its session tells later.
"""

from popproxy.privacy.policy import Policy
from popproxy.privacy.recorder import Recorder

__all__ = ["Policy", "Recorder"]
