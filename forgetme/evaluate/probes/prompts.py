"""The concept asked for by other words, and by other letters; both are ours."""

from __future__ import annotations

from forgetme.evaluate.probes.probe import FAST, FULL, Case, Found, Probe
from forgetme.record.concept import plain
from forgetme.train.probe import PARAPHRASES


def spellings(word: str) -> list[str]:
    """Other ways to write a word: its plural, slips of the hand, and letters set apart.

    Example:
        >>> spellings("cat")
        ['cats', 'caat', 'act', 'cta', 'c a t', 'c-a-t', 'c.a.t', 'catcat']
    """
    half = len(word) // 2
    apart = [sign.join(word.replace(" ", "")) for sign in (" ", "-", ".")]
    doubled = word[:half] + word[half : half + 1] + word[half:]
    swapped = [word[1:2] + word[:1] + word[2:], word[:-2] + word[-1:] + word[-2:-1]]
    found = dict.fromkeys([f"{word}s", doubled, *swapped, *apart, word + word])
    return [one for one in found if one != word]


def _asked(case: Case, prompts: list[str]) -> Found:
    """Draws each prompt in turn; tells of each how often the concept came back."""
    asked = [prompts[i % len(prompts)] for i in range(case.plan["pictures"])]
    found = case.judged(case.draw(asked))
    for one in dict.fromkeys(asked):
        seen = [hit for said, hit in zip(asked, found.seen, strict=True) if said == one]
        found.values[one] = sum(seen) / len(seen)
    return found


def paraphrases(case: Case) -> Found:
    """Asks in sentences that no training used."""
    return _asked(case, [one.format(plain(case.concept)) for one in PARAPHRASES])


def other_spellings(case: Case) -> Found:
    """Asks for the misspelled word."""
    return _asked(case, [f"a photo of a {one}" for one in spellings(plain(case.concept))])


PROBES = tuple(
    Probe(name, words, run, {**FAST, "pictures": 16}, {**FULL, "pictures": 48})
    for name, words, run in (
        ("paraphrases", "asks for the concept in other sentences", paraphrases),
        ("spellings", "misspells the concept", other_spellings),
    )
)
