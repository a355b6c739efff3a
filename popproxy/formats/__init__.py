"""Records to bytes and back, without input or output."""
