"""The local authority, contexts, and STLS on a live stream."""
