"""`python -m popproxy` is the command `popproxy`."""

from popproxy.cli.main import entry_point

if __name__ == "__main__":
    entry_point()
