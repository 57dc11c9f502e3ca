"""The training harness: the machinery around the models, the data and the training of this project."""

import sys

if sys.version_info < (3, 10):  # noqa: UP036  the other files have newer syntax
    found = ".".join(map(str, sys.version_info[:3]))
    sys.exit(sys.argv[0].rpartition("/")[2] + ": error: needs Python 3.10 or newer, this is " + found)
