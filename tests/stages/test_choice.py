"""The choice among masks: an order, and weights where they were fitted."""

from __future__ import annotations

import numpy as np
import pytest

from forgetme.record.masks import box_xywh
from forgetme.record.sample import Proposal
from forgetme.stages.choice import fitted, order

OURS = ("tiny/segmenter@0a1b2c3d", "tiny/ranker@4e5f6a7b")


def proposal(mask: np.ndarray, predicted_iou: float = 0.9, made_by: str = "test") -> Proposal:
    return Proposal(mask, box_xywh(mask), predicted_iou, 0.9, made_by)


class TestWeights:
    @pytest.mark.parametrize(
        ("score", "guess", "sure"),
        # worked out by hand: odds e^(12 (guess - 0.55)) (p + 0.001) / (1.001 - p) to 1
        [(0.5, 0.8, 0.9526), (0.9, 0.4, 0.5959), (0.2, 0.5, 0.1210), (0.0, 1.0, 0.1811)],
    )
    def test_a_mask_is_as_sure_as_its_name_and_its_outline_say(self, score, guess, sure):
        assert fitted(*OURS).sure(score, guess) == pytest.approx(sure, abs=1e-3)

    def test_no_mask_is_taken_for_its_outline_alone(self):
        assert fitted(*OURS).takes(0.12, 1.0)
        assert not fitted(*OURS).takes(0.08, 1.0)

    def test_what_may_be_chosen_goes_before_what_may_not(self):
        unlike, like = (proposal(np.eye(9) > 0, guess, OURS[0]) for guess in (1.0, 0.6))
        assert order([unlike, like], np.array([0.09, 0.11]), OURS[1]) == [1, 0]
        assert fitted(*OURS).sure(0.09, 1.0) > fitted(*OURS).sure(0.11, 0.6)

    @pytest.mark.parametrize("others", [("sam-vit-b@0", OURS[1]), (OURS[0], "ViT-L-14"), ("", "")])
    def test_other_makers_have_none(self, others):
        assert fitted(*others) is None

    def test_a_whole_that_is_cut_well_goes_before_a_surer_part(self):
        head, cat = np.zeros((40, 40), bool), np.zeros((40, 40), bool)
        head[10:16, 10:16] = cat[10:30, 8:30] = True
        both = [proposal(head, 0.4, OURS[0]), proposal(cat, 0.85, OURS[0])]
        assert order(both, np.array([0.93, 0.7]), OURS[1]) == [1, 0]
        assert order(both, np.array([0.93, 0.7]), "ViT-L-14") == [0, 1]


class TestOrder:
    head, cat, scene = (np.zeros((40, 40), bool) for _ in range(3))
    head[10:16, 10:16] = True
    cat[10:30, 8:30] = True
    scene[30:, :] = True

    def test_the_best_score_comes_first(self):
        assert order([proposal(self.head), proposal(self.scene)], np.array([0.2, 0.9])) == [1, 0]

    def test_the_whole_goes_before_its_part_at_nearly_the_same_score(self):
        parts = [proposal(self.head), proposal(self.cat)]
        assert order(parts, np.array([0.93, 0.91])) == [1, 0]
        assert order(parts, np.array([0.93, 0.85])) == [0, 1]

    def test_a_chain_of_wholes_does_not_climb_over_the_best_part(self):
        nested = [
            np.pad(np.ones((n, n), bool), ((0, 40 - n), (0, 40 - n))) for n in range(8, 40, 7)
        ]
        scores = np.array([0.99, 0.965, 0.94, 0.915, 0.89])
        assert order([proposal(m) for m in nested], scores) == [1, 0, 2, 3, 4]

    def test_a_whole_does_not_pass_a_better_mask_elsewhere_on_its_way(self):
        # By predicted IoU the head is first, then the scene; the cat may not pass the scene.
        three = [proposal(self.head, 0.99), proposal(self.scene, 0.1), proposal(self.cat, 0.0)]
        assert order(three, np.array([0.93, 0.96, 0.91])) == [0, 1, 2]
        assert order(three, np.array([0.93, 0.93, 0.91])) == [2, 0, 1]

    def test_a_larger_mask_elsewhere_is_not_a_whole(self):
        assert order([proposal(self.head), proposal(self.scene)], np.array([0.93, 0.91])) == [0, 1]

    def test_of_two_that_are_nearly_the_same_the_better_stays_first(self):
        slightly_less = self.cat.copy()
        slightly_less[10] = False
        twins = [proposal(self.cat), proposal(slightly_less)]
        assert order(twins, np.array([0.93, 0.92])) == [0, 1]

    def test_predicted_iou_settles_equal_scores(self):
        rivals = [proposal(self.head, 0.5), proposal(self.scene, 0.9)]
        assert order(rivals, np.array([0.9, 0.9])) == [1, 0]

    def test_every_mask_is_ranked_once(self):
        rng = np.random.default_rng(0)
        masks = [np.pad(np.ones((n, n), bool), ((0, 40 - n), (0, 40 - n))) for n in range(2, 30)]
        ranking = order([proposal(m) for m in masks], rng.uniform(0.9, 1, len(masks)))
        assert sorted(ranking) == list(range(len(masks)))

    def test_nothing_to_rank(self):
        assert order([], np.zeros(0)) == []
