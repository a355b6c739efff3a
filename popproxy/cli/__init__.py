"""The command line: one module per verb, the configuration, the diagnostics.

`main` imports next to nothing, `commands` only click; whatever is heavier is imported inside the
verb that needs it, so that `--version`, `--help` and completion stay quick.
"""
