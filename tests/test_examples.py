"""The examples in docstrings are true."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import forgetme

PACKAGE = Path(forgetme.__file__).parent


def test_examples_of_docstrings_give_what_they_show():
    tried, failed = 0, []
    for path in sorted(PACKAGE.rglob("*.py")):
        if "    >>> " not in path.read_text(encoding="utf-8"):
            continue
        name = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        result = doctest.testmod(importlib.import_module(name))
        tried += result.attempted
        failed += [name] * bool(result.failed)
    assert tried > 20
    assert not failed, f"run: python -m doctest on {failed}"
