"""What a small CLIP knows: names, plurals, and which words exclude another."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from disc_models import disc_clip, draw, one_thread

from forgetme.curate.pipeline import propose
from forgetme.record.masks import box_xywh
from forgetme.record.sample import Proposal
from forgetme.stages.rank import Ranker
from forgetme.stages.verify import ClipVerifier
from forgetme.stages.vocabulary import Vocabulary

ASSETS = Path(__file__).parents[2] / "assets" / "tiny"
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


class TestBundled:
    @pytest.fixture(scope="class")
    def words(self) -> Vocabulary:
        config = json.loads((ASSETS / "ranker.json").read_text())
        return Vocabulary(config["vocabulary"], config["kinds"], config["same"])

    @pytest.mark.parametrize(
        ("name", "word"),
        [
            ("sofa", "couch"),
            ("puppies", "dog"),
            ("automobile", "car"),
            ("ships", "boat"),
            ("bicycles", "bicycle"),
            ("golden retriever", "golden retriever"),
            ("vehicles", "vehicle"),
            ("kite", "kite"),
            ("okapi", None),
            ("Eiffel tower", None),
        ],
    )
    def test_it_knows_common_names(self, words, name, word):
        assert words.find(name) == word

    def test_every_word_has_rivals_and_none_holds_it(self, words):
        everything = set(words.words)
        assert len(everything) > 1400
        for word in np.random.default_rng(0).permutation(sorted(everything))[:60]:
            others = set(words.against(word))
            assert "background" in others or word == "background"
            assert word not in others
            assert not others & words.above(word)
            assert not any(word in words.above(other) for other in others)
        assert not words.above("dog") & set(words.rivals)
