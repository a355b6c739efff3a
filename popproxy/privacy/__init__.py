"""Events to records: what may be told of what was said (masking)."""
