"""The words that a small CLIP was taught: other names for them, and which of them exclude another.

A model that learned "dog", "terrier" and "animal" must not weigh "terrier" against "dog": both are
true of the same mask. So each word has its own rivals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from forgetme.record.concept import senses

ARTICLES = ("a ", "an ", "the ")


class Vocabulary:
    """Which words a model knows, by any of their names; empty = it knows all words."""

    def __init__(
        self,
        rivals: Sequence[str] = (),
        kinds: Mapping[str, Sequence[str]] | None = None,
        same: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        """Takes what a model's config says.

        Args:
            rivals: words of which at most one is true of a mask: the other answers.
            kinds: for a word, the words that are true as well: {"terrier": ["dog"]}.
            same: other names of a word: {"couch": ["sofa"]}.
        """
        self.rivals = tuple(rivals)
        self._kinds = {word: tuple(more) for word, more in (kinds or {}).items()}
        general = {parent for parents in self._kinds.values() for parent in parents}
        self.words = tuple(dict.fromkeys([*self.rivals, *self._kinds, *sorted(general)]))
        self._leaves = tuple(word for word in self._kinds if word not in general)
        self._above: dict[str, frozenset[str]] = {}
        self.names = {name.casefold(): w for w, names in (same or {}).items() for name in names}
        self.names |= {word.casefold(): word for word in self.words}

    def __bool__(self) -> bool:
        """False for a model that knows all words."""
        return bool(self.words)

    def find(self, name: str) -> str | None:
        """The word that a name stands for, in singular or plural, any case; None = not taught."""
        name = name.casefold()
        for article in ARTICLES:
            name = name.removeprefix(article)
        tries = (name, *sorted(senses(name)))
        return next((self.names[one] for one in tries if one in self.names), None)

    def above(self, word: str) -> frozenset[str]:
        """Every more general word that is true as well."""
        if word not in self._above:
            direct = self._kinds.get(word, ())
            self._above[word] = frozenset(direct).union(*map(self.above, direct))
        return self._above[word]

    def against(self, word: str) -> list[str]:
        """The other answers for a word: rivals that neither hold it nor are a kind of it.

        For a word below a rival, such as "terrier", the other kinds of that rival too.
        """
        above = self.above(word)
        fits = {word, *above}
        inside = [top for top in self.rivals if top in above]
        near = [w for w in self._leaves if not self.above(w).isdisjoint(inside)] if inside else []
        others = dict.fromkeys([*self.rivals, *near])
        return [w for w in others if w not in fits and word not in self.above(w)]
