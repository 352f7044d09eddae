"""A concept in words: plain, in a prompt, and in a question."""

from __future__ import annotations

from collections.abc import Sequence

from forgetme.errors import ForgetmeError

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


def single(concept: str) -> str:
    r"""Returns a name as it is, unless it lists several concepts.

    Raises:
        ForgetmeError: it has a comma, semicolon or bar.

    Example:
        >>> single("salt and pepper shaker")
        'salt and pepper shaker'
    """
    if any(sign in concept for sign in ",;|"):
        raise ForgetmeError(
            f"one concept at a time, got {concept!r}: do the same once for each of them, and write "
            "a name of its own without commas"
        )
    return concept


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


_PLURALS = {
    "person": "people", "man": "men", "woman": "women", "child": "children", "mouse": "mice",
    "goose": "geese", "foot": "feet", "tooth": "teeth", "leaf": "leaves", "wolf": "wolves",
    "knife": "knives",
}  # fmt: skip
# Everyday names of what the bundled models were taught.
_SENSES = {
    "kitten": "cat", "kitty": "cat", "puppy": "dog", "automobile": "car", "ship": "boat",
    "plane": "airplane", "aeroplane": "airplane",
}  # fmt: skip


def same(one: str, other: str) -> bool:
    """Tells whether two names mean one concept, spelled differently.

    Case, brackets, underscores, number and a few everyday names do not part them.

    Example:
        >>> [same("cat", other) for other in ("Cat", "<cats>", "kitten", "Persian cat")]
        [True, True, True, False]
    """
    return not senses(plain(one).casefold()).isdisjoint(senses(plain(other).casefold()))


def is_kind_of(concept: str, other: str) -> bool:
    """Tells whether a concept is another one or a kind of it: its last word says what it is.

    Example:
        >>> [is_kind_of(one, "cat") for one in ("cats", "Persian cat", "cat food")]
        [True, True, False]
    """
    words, head = plain(concept).casefold().split(), plain(other).casefold().split()
    return same(concept, other) or same(" ".join(words[-len(head) :]), other)


def overlap(one: str, other: str) -> bool:
    """Tells whether of two concepts one is a kind of the other, so that both go together."""
    return is_kind_of(one, other) or is_kind_of(other, one)


def word_for(concept: str, vocabulary: Sequence[str]) -> str:
    """Gives the word of a vocabulary that names a concept; its own words where none does.

    Example:
        >>> word_for("<Persian_cats>", ("dog", "cat"))
        'cat'
    """
    found = [one for one in vocabulary if same(concept, one)]
    found += [one for one in vocabulary if is_kind_of(concept, one)]
    return found[0] if found else plain(concept)


def senses(words: str) -> set[str]:
    """What a name in lower case may be meant as: singular or plural, or by its everyday name."""
    rest, _, last = words.rpartition(" ")
    ones = {last, *(one for one, many in _PLURALS.items() if many == last)}
    if len(last) > 3 and last.endswith("s") and not last.endswith("ss"):
        ones.add(last[:-1])
        if last.endswith("es"):
            ones.add(last[:-2])
        if last.endswith("ies"):
            ones.add(f"{last[:-3]}y")
    ones |= {_SENSES[one] for one in ones if one in _SENSES and not rest}
    return {f"{rest} {one}".strip() for one in ones}
