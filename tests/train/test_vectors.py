"""Each loss and closed form against numbers worked out apart, to six digits, by name."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from forgetme.train.context import Context
from forgetme.train.gate import likeness
from forgetme.train.inversion import pulled, weight_map
from forgetme.train.m_score import MScore, cosine
from forgetme.train.methods import ca, esd, fmn, loreun, rece, slider, speed, uce
from forgetme.train.saliency import guided_loss, top_share


def f64(*rows: object) -> torch.Tensor:
    return torch.tensor(rows[0] if len(rows) == 1 else rows, dtype=torch.float64)


def near(found: object, *wanted: object) -> None:
    found = found.numpy() if isinstance(found, torch.Tensor) else np.asarray(found)
    expected = np.array(wanted[0] if len(wanted) == 1 else wanted)
    np.testing.assert_allclose(found, expected, atol=6e-7)


# Two layers: A of two pixels, B of one; the tokens 1 and 2 are the concept's.
KEYS = {"a": f64([[1.0, 0], [0, 1], [1, 1]]), "b": f64([[0.0, 1], [1, 0], [-1, 1]])}
P_A = torch.softmax(f64([[1.0, 0], [0, 2]]) @ KEYS["a"].T / 2**0.5, -1)
P_B = torch.softmax(f64([[0.5, -1.0]]) @ KEYS["b"].T / 2**0.5, -1)
S = torch.tensor([[False, True, True]])


def test_v1_forget_me_not_takes_one_norm() -> None:
    maps = [P[None, None].clone().requires_grad_() for P in (P_A, P_B)]
    found = fmn.steering(maps, S, form="fmn")
    near(found.detach(), [1.008353])
    found.sum().backward()
    near(maps[0].grad[0, 0, 0, 1], 0.196137)
    near(fmn.steering(maps, torch.ones_like(S), form="fmn").detach(), [1.112146])


def test_v2_a_norm_for_each_layer_inside_the_mask() -> None:
    maps = [P_A[None, None], P_B[None, None]]
    near(fmn.steering(maps, S), [1.420497])
    first = torch.tensor([[[[1.0, 0.0]]]])  # of A the first pixel; B's single one is in it
    near(fmn.steering(maps, S, first), [1.094738])


def test_v3_one_norm_inside_the_mask() -> None:
    maps, first = [P_A[None, None], P_B[None, None]], torch.tensor([[[[1.0, 0.0]]]])
    near(fmn.steering(maps, S, first, "fmn"), [0.786947])


def test_v4_samples_of_a_batch_keep_their_own_tokens() -> None:
    maps = torch.arange(12, dtype=torch.float64).view(2, 2, 1, 3) / 12
    found = fmn.steering([maps], torch.tensor([[False, True, False], [False, False, True]]))
    near(torch.linalg.vector_norm(found), 1.184389)


def test_a_mask_without_pixels_has_a_gradient_of_nothing() -> None:
    maps = P_A[None, None].clone().requires_grad_()
    fmn.steering([maps], S, torch.zeros(1, 1, 1, 2)).sum().backward()
    assert not maps.grad.any()


def test_v5_rows_are_pulled_to_the_norm_of_words() -> None:
    row = f64([[3.0, 4.0]])
    near(pulled(row, 1e-3), [[2.724, 3.632]])
    near(pulled(row, 0.02).norm(), 0.4)
    for _ in range(10):
        row = pulled(row, 1e-3)
    near(row.norm(), 2.003921)


def test_v6_the_weight_map_has_a_mean_of_one() -> None:
    mask = torch.zeros(1, 1, 4, 4, dtype=torch.float64)
    mask[..., 1:3, 1:3] = 1
    found = weight_map(mask)
    near(found[0, 0, 1, 1], 3.5)
    near(found[0, 0, 0, 0], 0.166667)
    near(found.square().mean(), 3.083333)


def test_v7_an_m_score_is_a_cosine() -> None:
    reference = f64([1.0, 2, 2])
    near(cosine(f64([2.0, 1, 2]), reference), 0.888889)
    near(cosine(f64([2.0, -2, 1]), reference), 0.0)
    near(MScore(0.888889, 0.0, 0.1, 0.2).change, -0.888889)


def test_v8_a_gate_takes_the_larger_of_cosine_and_tokens() -> None:
    states, target = torch.tensor([1.0, 0, 1]), torch.tensor([1.0, 1, 0])
    near(likeness(states, target, {2, 5}, {5, 9}), 0.5)
    near(likeness(states, target, {2}, {5, 9}), 0.5)  # the cosine alone
    near(likeness(states, target, {5, 9, 1}, {5, 9}), 1.0)


def test_v9_salun_ranks_all_weights_together() -> None:
    found = top_share({"a": f64([0.3, -0.1, 0.2]), "b": f64([-0.5, 0.05])}, 0.5)
    near(found["a"], [1, 0, 0])
    near(found["b"], [1, 0])
    assert not any(one.any() for one in top_share({"a": f64([0.3, 0.1])}, 0.4).values())


def test_v9b_saluns_loss_is_guided() -> None:
    found = guided_loss(f64([1.0, 0]), f64([0.5, 0.5]), f64([0.0, 0]), 7.5)
    near(found, -18.3125)


def test_v10_loreun_weighs_by_excess_and_fits_its_curve() -> None:
    d, losses = f64([0.5, 1, 2]), f64([0.1, 0.2, 0.4])
    forget, retain = loreun.weights(d, -0.1), loreun.weights(d, 0.2)
    near(forget, [0.355627, 0.338283, 0.306091])
    near((forget * losses).sum(), 0.225655)
    near(retain, [0.289433, 0.319873, 0.390694])
    near((retain * losses).sum(), 0.249195)
    near((loreun.weights(d, 0.0) * losses).sum(), 0.233333)
    t = np.arange(0, 1000, 100)
    found = loreun.curve(t, 0.9 * np.exp(-t / 150) + 0.05)
    near(found(np.array([0, 100, 500, 900])), [0.95, 0.512075, 0.082107, 0.052231])


W = f64([[1.0, 2], [3, 4]])
C, G = f64([[1.0, 0]]), f64([[0.0, 1]])
FIRST = {"lam": 0.5, "erase": 1.0, "keep": 1.0}


def test_v11_uce_takes_the_concept_for_its_guide() -> None:
    none = C[:0]
    near(W @ uce.edit(C, G, none, **FIRST), [[1.666667, 2], [3.666667, 4]])
    kept = W @ uce.edit(C, G, f64([[1.0, 1]]), **FIRST)
    near(kept, [[1.545455, 1.636364], [3.545455, 3.636364]])
    near(W @ uce.edit(C, G, none, lam=0.5, erase=1000, keep=1) @ C[0], [1.9995, 3.9995])
    near(W @ uce.edit(C, C, none, **FIRST), W)


def test_v12_rece_edits_what_revives_the_concept() -> None:
    x = uce.edit(C, G, C[:0], **FIRST)
    again = rece.revived(C, W.T @ W, x, 0.1)
    near(again, [[0.637776, 0.125375]])
    near((W @ x @ again[0] - W @ C[0]).norm(), 0.352151)
    near((W @ x @ C[0] - W @ C[0]).norm(), 0.942809)
    second = x @ uce.edit(again, G, C[:0], lam=0.1, erase=1.0, keep=0.1)
    near(W @ second, [[2.504406, 2.164684], [5.082639, 4.278354]])
    left = rece.revived(C, W.T @ W, second, 0.1)[0]
    assert (W @ second @ left - W @ C[0]).norm() > 0.352151  # it is harder to revive


def test_v13_speed_changes_nothing_that_must_stay() -> None:
    weight, kept = f64([[1.0, 2, 0], [0, 1, 1]]), f64([[0.0, 1, 1], [0, 2, 2]])
    target, anchor = f64([[1.0, 0, 0]]), f64([[0.0, 1, 0]])
    free = speed.null_space(kept, 0.1)
    near(free, [[1, 0, 0], [0, 0.5, -0.5], [0, -0.5, 0.5]])
    near(free @ free, free)
    moments = (speed.moment(target, target), speed.moment(anchor, target))
    fixed = f64([[0.0, 0, 1]])
    for one in (fixed, fixed[:0]):
        change = weight @ speed.change(*moments, free, one, 1.0)
        near(change, [[0.5, 0, 0], [0.5, 0, 0]])
        near(change @ kept.T, np.zeros((2, 2)))
    near((weight + change) @ target[0], [1.5, 0.5])
    strong = weight @ speed.change(*moments, free, fixed, 1e8)
    near((weight + strong) @ target[0], weight @ anchor[0])


def test_v21_esd_leads_away_and_leco_enhances() -> None:
    null, concept = f64([0.1, 0.2]), f64([0.3, -0.1])
    target = esd.steered(null, null, concept, 1.0)
    near(target, [-0.1, 0.5])
    near((f64([0.25, 0.0]) - target).square().mean(), 0.18625)
    near(esd.steered(null, null, concept, -1.0), [0.3, -0.1])


def test_v22_random_labelling_adds_what_must_stay() -> None:
    forget = Context.errors(None, f64([[0.1, 0.2], [0.3, 0]]), f64([[0.0, 0.1], [0.1, 0.1]]))
    near(forget, [0.01, 0.025])
    near(forget.mean() + 0.5 * 0.03, 0.0325)


def test_v24_the_published_sum_of_two_channels_is_twice_our_mean() -> None:
    guess = f64([0.08, 0.025]).sqrt().view(1, 2, 1, 1)
    found = ca.masked_error(guess, torch.zeros_like(guess), torch.ones(1, 1, 1, 1))
    near(2 * found, [0.105])
    near(ca.masked_error(guess, torch.zeros_like(guess)), found)
    two = torch.cat([guess, 0 * guess], 3)
    near(ca.masked_error(two, torch.zeros_like(two), torch.tensor([[[[1.0, 0]]]])), found)
    near(ca.masked_error(two, torch.zeros_like(two), torch.zeros(1, 1, 1, 2)), [0.0])


def test_v26_a_slider_pulls_both_ends() -> None:
    for b, wanted, slope in ((0.0, 2.5, 5.0), (-0.5, 1.25, None)):
        way = torch.tensor(b, dtype=torch.float64, requires_grad=True)
        less, more = 2 + way * 2, 1 - way * 1  # x_B 2 at scale 1, x_A 1 at scale -1
        loss = slider.pair(less, more, (f64(0.5), f64(0.5)))
        near(loss.detach(), wanted)
        if slope is not None:
            near(torch.autograd.grad(loss, way)[0], slope)


def test_a_singular_closed_form_says_what_to_do() -> None:
    from forgetme.errors import ForgetmeError

    with pytest.raises(ForgetmeError, match="raise the option lam"):
        uce.edit(C, G, C[:0], lam=0.0, erase=1.0, keep=1.0)
