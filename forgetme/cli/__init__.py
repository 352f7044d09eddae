"""The commands of `python -m forgetme`.

Results go to stdout, notes to stderr. Exit codes: 0 done, 1 an error with one line that says what
to do, 2 wrong usage, 130 stopped with Ctrl-C. Torch and its like are imported inside the commands,
so that `--help` answers at once.
"""

# Each module adds its commands to the program; the order here is that of the help.
from forgetme.cli import (  # noqa: I001
    serve, curation, generate, fills, data, layers, train, patch, compare, evaluate, classify,  # noqa: F401
    store, people, care, jobs,  # noqa: F401
)  # fmt: skip
from forgetme.cli.frame import app

__all__ = ["app"]
