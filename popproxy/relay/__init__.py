"""The only place that moves traffic."""
