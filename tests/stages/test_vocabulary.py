"""What a small CLIP knows: names, plurals, and which words exclude another."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from disc_models import disc_clip, draw, one_thread

from forgetme.curate.pipeline import propose
from forgetme.record.masks import box_xywh
from forgetme.record.sample import Proposal
from forgetme.stages.rank import Ranker
from forgetme.stages.verify import ClipVerifier
from forgetme.stages.vocabulary import Vocabulary

KINDS = {
    "terrier": ["dog"],
    "poodle": ["dog"],
    "dog": ["animal"],
    "cat": ["animal"],
}
SAME = {"couch": ["sofa", "settee"], "cherry": ["griotte"]}


def known() -> Vocabulary:
    return Vocabulary(["dog", "cat", "couch", "mouse", "glass", "background"], KINDS, SAME)


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("dog", "dog"),
        ("Dogs", "dog"),
        ("a terrier", "terrier"),
        ("sofas", "couch"),
        ("THE SETTEE", "couch"),
        ("animals", "animal"),
        ("mice", "mouse"),
        ("glasses", "glass"),
        ("glass", "glass"),
        ("okapi", None),
        ("dog house", None),
        ("s", None),
    ],
)
def test_a_word_is_found_by_any_of_its_names(name, word):
    assert known().find(name) == word


@pytest.mark.parametrize(
    ("word", "others"),
    [
        ("dog", ["cat", "couch", "mouse", "glass", "background"]),
        ("animal", ["couch", "mouse", "glass", "background"]),
        ("terrier", ["cat", "couch", "mouse", "glass", "background", "poodle"]),
        ("couch", ["dog", "cat", "mouse", "glass", "background"]),
    ],
)
def test_what_is_true_of_the_same_mask_is_no_rival(word, others):
    assert known().against(word) == others


def test_without_words_all_are_known():
    assert not Vocabulary()
    assert Ranker(disc_clip(), "clip", context_length=8).knows("okapi")


def test_a_synonym_scores_as_its_word_and_an_unknown_word_is_never_a_yes():
    words = Vocabulary(["cherry", "lime", "plum", "ground"], None, SAME)
    with one_thread():
        ranker = Ranker(
            disc_clip(), "disc-clip", context_length=8, templates=("a {}",), vocabulary=words
        )
        image, (cherry, _) = draw(("cherry", 18, 30, 10), ("lime", 46, 34, 12))
        one = Proposal(cherry, box_xywh(cherry), 0.9, 0.9, "test")
        assert ranker(image, [one], "Griottes") == pytest.approx(ranker(image, [one], "cherry"))
        ask = ClipVerifier(ranker, threshold=0.0)
        assert ask(image, one, "griotte").yes
        assert ask(image, one, "griotte").reason.startswith("looks like a griotte (")
        unknown = ask(image, one, "okapi")
        models = SimpleNamespace(segmenter=lambda _: [one, one], ranker=ranker, verifier=ask)
        proposed = propose(image, "okapi", models)
    assert proposed.chosen is None
    assert [ranked.verdict for ranked in proposed.ranked] == [unknown, None]  # asked once
    assert proposed.note.startswith("Not checked: disc-clip does not know 'okapi'. Choose a mask")
    assert not unknown.yes
    assert not unknown.checked
    assert unknown.confidence == 0
    assert unknown.reason == "not checked: disc-clip does not know 'okapi'"
