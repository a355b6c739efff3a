"""Functions over records."""
