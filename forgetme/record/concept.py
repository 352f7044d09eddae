"""How a concept is said: as plain words, and in a question."""

from __future__ import annotations

LONGEST = 80  # characters; a name, not a text

# said with a consonant first though written with a vowel, and the other way round
_SAID_WITH_YOU = ("uni", "use", "usu", "eu", "ewe", "one", "once", "ufo", "uku", "uten")
_SILENT_H = ("hour", "honest", "honour", "honor", "heir")


def plain(concept: str) -> str:
    r"""Gives a concept as words for a prompt: no token brackets, underscores or line breaks.

    Args:
        concept: as the curator wrote it, "<cat>", "golden_retriever", ...

    Returns:
        At most 80 characters; quotes and emoji stay.

    Raises:
        ValueError: nothing is left.

    Example:
        >>> plain(" <golden_retriever>\n")
        'golden retriever'
    """
    words = " ".join(concept.replace("<", " ").replace(">", " ").replace("_", " ").split())
    words = "".join(c for c in words if c.isprintable())[:LONGEST].strip()
    if not words:
        raise ValueError(f"a concept needs a name such as 'cat', got {concept!r}")
    return words


def with_article(words: str) -> str:
    """Puts "a" or "an" before a name.

    Example:
        >>> [with_article(w) for w in ("cat", "owl", "unicorn", "hourglass")]
        ['a cat', 'an owl', 'a unicorn', 'an hourglass']
    """
    lower = words.lower()
    vowel = lower.startswith(("a", "e", "i", "o", "u"))
    an = lower.startswith(_SILENT_H) or (vowel and not lower.startswith(_SAID_WITH_YOU))
    return f"{'an' if an else 'a'} {words}"
