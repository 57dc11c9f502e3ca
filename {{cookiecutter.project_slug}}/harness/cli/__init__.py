"""The command line: its parser, its flags, and the sources of their values."""
