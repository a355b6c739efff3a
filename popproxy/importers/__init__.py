"""Other programs' logs to wire bytes with their side."""
