"""`python -m forgetme`: the command line."""

from forgetme.cli import app

app(prog_name="python -m forgetme")
