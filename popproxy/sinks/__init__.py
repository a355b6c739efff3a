"""Where records go: files, the terminal, standard output."""
