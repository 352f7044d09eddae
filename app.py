"""Serves the page: `python app.py`, then open http://127.0.0.1:7860."""

from __future__ import annotations

import signal
import sys

from forgetme.cli.serve import main

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
