"""The other ends of the wire: an embedded POP3 server and a scripted client."""
