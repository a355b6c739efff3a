"""popproxy: a man-in-the-middle logging proxy for POP3.

The library is usable without the proxy: `from popproxy.pop3 import Session`.
"""

__version__ = "0.1.0"
