"""One concept in two spellings is one concept."""

from __future__ import annotations

import pytest

from forgetme.record.concept import is_kind_of, overlap, same, word_for


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("Cat", "cat", True),
        ("<cat>", "cat", True),
        ("cats", "CAT", True),
        ("butterflies", "butterfly", True),
        ("people", "person", True),
        ("golden_retrievers", "golden retriever", True),
        ("kittens", "cat", True),
        ("Persian cat", "cat", False),
        ("cart", "car", False),
        ("glass", "glas", False),
        ("bus", "bu", False),
    ],
)
def test_spelling_does_not_part_a_concept_from_itself(one: str, other: str, alike: bool) -> None:
    assert same(one, other) is alike
    assert same(other, one) is alike


def test_a_kind_goes_with_what_it_is_a_kind_of() -> None:
    assert is_kind_of("Persian cats", "cat")
    assert not is_kind_of("cat", "Persian cat")
    assert not is_kind_of("cat food", "cat")
    assert overlap("cat", "Persian cat")
    assert word_for("Persian cats", ("dog", "cat")) == "cat"
    assert word_for("hot dogs", ("dog", "hot dog")) == "hot dog"
    assert word_for("<sks>", ("dog",)) == "sks"
