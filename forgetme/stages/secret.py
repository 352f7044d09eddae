"""An API key that is never printed, and goes to one server only."""

from __future__ import annotations

import json
import re
from urllib.parse import quote

from forgetme.errors import MissingModelError

_LONG = 12  # characters; a shorter one may be an ordinary word of a message


class Secret:
    """Holds a key, and takes it out of every text that leaves."""

    def __init__(self, text: str | None, *, name: str = "OPENAI_API_KEY") -> None:
        """Takes a key as people paste it: with a line break or spaces around it.

        Args:
            text: the key; None or blank = there is none.
            name: where it came from, for the message.

        Raises:
            MissingModelError: it has characters that no key has; they are not shown.
        """
        self.value = (text or "").strip()
        if not all("!" <= char <= "~" for char in self.value):
            raise MissingModelError(
                f"{name} must be one word of letters, digits and signs, and has a space, a line "
                "break or another character in it; copy the key again, alone"
            )
        value = re.escape(self.value)
        if len(self.value) >= _LONG:
            forms = {self.value, quote(self.value, safe=""), json.dumps(self.value)[1:-1]}
            self._found = re.compile("|".join(re.escape(form) for form in forms))
        else:  # a whole word where a key is spoken of: "ollama" is also a server's name
            self._found = re.compile(
                rf"(?i:(?<=bearer )|(?<=key: )|(?<=key ')|(?<=key \")|(?<=key=)){value}(?![\w-])"
            )

    def __bool__(self) -> bool:
        """Tells whether there is a key."""
        return bool(self.value)

    def __repr__(self) -> str:
        """Shows nothing of it."""
        return "Secret(***)"

    def hide(self, text: str) -> str:
        """Returns a text without the key, in whatever form it stands there."""
        return self._found.sub("***", text) if self.value else text
