"""Training of the bundled models: data, resuming, files that the ordinary loaders open."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from forgetme.scenes import CONCEPTS, render_scene
from forgetme.tiny import check as checks
from forgetme.tiny import on_photos, rows
from forgetme.tiny.bank import Photo, scene_bank
from forgetme.tiny.loop import TrainSettings, fit, rate


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    scene_bank(folder / "scenes", 6, first_seed=5)
    return folder


def test_bank_holds_what_the_renderer_draws(work):
    bank = scene_bank(work / "scenes", 6)
    scene = render_scene(5)
    assert np.array_equal(bank.images[0], scene.image)
    assert np.array_equal(bank.backgrounds[0], scene.background)
    assert np.array_equal(bank.ids[0] == 1, scene.mask)
    assert CONCEPTS[bank.concepts[0, 0]] == scene.concept
    assert bank.captions[0] == scene.caption


def line_loss(model):
    def loss_fn(step, rng, done):
        x = torch.from_numpy(rng.normal(size=(8, 3))).float()
        noise = 0.01 * torch.randn(8, 1)
        return ((model(x) - x.sum(1, keepdim=True) + noise) ** 2).mean(), {}

    return loss_fn


def test_resumed_run_equals_an_uninterrupted_one(tmp_path):
    settings = TrainSettings(steps=12, batch=8, warmup=2)
    results = []
    for folder, stops in ((tmp_path / "whole", [12]), (tmp_path / "parts", [5, 12])):
        for stop in stops:
            torch.manual_seed(0)
            model = torch.nn.Linear(3, 1)
            loss = line_loss(model)

            def loss_fn(step, rng, done, loss=loss, stop=stop):
                if step == stop:
                    raise KeyboardInterrupt
                return loss(step, rng, done)

            try:
                average = fit(model, loss_fn, replace(settings, save_every=0.0), folder)
            except KeyboardInterrupt:
                continue
        results.append(average.weight.detach().numpy())
    assert np.array_equal(*results)


def test_loss_that_is_not_finite_stops_the_run_and_keeps_the_checkpoint(tmp_path):
    model = torch.nn.Linear(3, 1)
    loss = line_loss(model)

    def loss_fn(step, rng, done):
        value, logged = loss(step, rng, done)
        return value * (float("nan") if step == 3 else 1), logged

    with pytest.raises(FloatingPointError, match="step 3"):
        fit(model, loss_fn, TrainSettings(steps=6, save_every=0.0), tmp_path)
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] == 3


def test_rate_warms_up_and_decays_to_a_tenth():
    settings = TrainSettings(steps=100, lr=1.0, warmup=10)
    assert rate(0, settings) == pytest.approx(0.1)
    assert rate(10, settings) == pytest.approx(1.0)
    assert rate(100, settings) == pytest.approx(0.1)


def test_trained_segmenter_opens_as_a_sam(work, tmp_path):
    from forgetme.stages.segment import load_tiny_sam
    from forgetme.tiny import segmenter

    settings = replace(segmenter.SETTINGS, steps=2, batch=2)
    segmenter.train(tmp_path, work, settings=settings, scenes=6)
    answer = load_tiny_sam(tmp_path).click(render_scene(1).image, np.array([[128, 128]]), [1])
    assert answer[0].mask.shape == (256, 256)


def test_prompts_on_several_images_are_decoded_as_on_each_alone():
    from forgetme.stages.sam import build_sam
    from forgetme.tiny import segmenter

    torch.manual_seed(0)
    sam = build_sam(segmenter.CONFIG)
    points = torch.rand(4, 1, 2) * 256
    with torch.no_grad():
        embeddings = sam.image_encoder(torch.rand(2, 3, 256, 256))
        sparse, dense = sam.prompt_encoder((points, torch.ones(4, 1)), None, None)
        masks, iou = sam.mask_decoder.predict_masks(
            embeddings, sam.prompt_encoder.get_dense_pe(), sparse, dense
        )
        for i in range(2):
            part = slice(2 * i, 2 * i + 2)
            own, own_iou = sam.mask_decoder(
                embeddings[i : i + 1],
                sam.prompt_encoder.get_dense_pe(),
                sparse[part],
                dense[part],
                multimask_output=True,
            )
            assert torch.allclose(masks[part, 1:], own, atol=1e-4)
            assert torch.allclose(iou[part, 1:], own_iou, atol=1e-4)


def test_trained_ranker_opens_and_names_its_words(work, tmp_path):
    from forgetme.stages.rank import load_tiny_clip
    from forgetme.tiny import ranker

    ranker.train(tmp_path, work, settings=replace(ranker.SETTINGS, steps=2, batch=4), scenes=6)
    loaded = load_tiny_clip(tmp_path)
    assert set(CONCEPTS) < set(loaded.vocabulary)
    chances = loaded.probabilities([render_scene(1).image], CONCEPTS)
    assert chances.shape == (1, 12)
    assert chances.sum() == pytest.approx(1)


def test_ranker_crops_carry_the_right_word(work):
    from forgetme.tiny import diffusion
    from forgetme.tiny.crops import Crops, redrawn

    bank = scene_bank(work / "scenes", 6)
    rng, crops = np.random.default_rng(0), Crops(48)
    drawn = [crop for row in range(6) for crop in crops.scene(bank, row, rng)]
    photo = Photo(bank.images[0], bank.ids[0] == 1, "otter", "otter.jpg")
    shot = list(crops.photo(photo, rng, 3))
    assert all(c.pixels.shape == (48, 48, 3) and c.pixels.dtype == np.uint8 for c in drawn + shot)
    present = {CONCEPTS[k] for k in bank.concepts.ravel() if k >= 0}
    assert {c.word for c in drawn if c.source == "drawn"} == present
    assert {c.word for c in drawn if c.source == "setting"} <= set(bank.settings)
    alone = [CONCEPTS[row[0]] for row in bank.concepts if (row >= 0).sum() == 1]
    assert [c.word for c in drawn if c.source == "drawn worn"] == alone
    again = list(redrawn(diffusion.build_vae().eval(), bank, crops, 0))
    assert [(c.word, c.source) for c in again] == [(word, "redrawn") for word in alone]
    assert {c.pixels.shape for c in again} == {(48, 48, 3)}
    assert {c.word for c in shot} == {"otter", "part", "background"}
    rough = [c for c in shot if c.source == "photo"]
    assert len(rough) == 6  # three masks, two views each
    assert {c.word for c in rough} == {"otter"}


def test_what_the_segmenter_proposes_is_a_whole_a_part_or_nothing(work):
    from forgetme.tiny.crops import Crops

    bank = scene_bank(work / "scenes", 6)
    ids = np.asarray(bank.ids[0])
    words = [CONCEPTS[k] for k in bank.concepts[0] if k >= 0]
    whole = ids == 1
    ys, xs = np.nonzero(whole)
    half, most = whole.copy(), whole.copy()
    half[: int(np.quantile(ys, 0.55))] = False
    most[: int(np.quantile(ys, 0.32))] = False  # neither whole nor clearly a part
    masks = [whole, half, most, ids == 0]
    found = list(Crops(48).proposed(bank.images[0], masks, ids, words))
    expected = [(words[0], "proposed")] * 2 + [("part", "proposed part")] * 2  # two views each
    assert [(crop.word, crop.source) for crop in found] == expected


def test_right_words_are_asked_against_their_rivals_alone(work, tmp_path):
    from forgetme.tiny import backbone, ranker
    from forgetme.tiny.crops import Crop

    net, words = backbone.lite0(), ranker.Words.read()
    crops = [Crop(np.full((32, 32, 3), k, np.uint8), "dog", "photo", str(k)) for k in range(9)]
    lessons = ranker.Lessons(words, ranker.features(tmp_path, net, iter(crops), "cpu"), net)
    dog, cat, terrier, animal = (lessons.index[w] for w in ("dog", "cat", "Airedale", "animal"))
    logits = torch.zeros(1, len(lessons.words))
    logits[0, [terrier, animal]] = 50.0  # both are true of a dog, and no fault
    alone = lessons.ask(logits, torch.tensor([dog]), smooth=0.0)
    logits[0, cat] = 50.0
    assert lessons.ask(logits, torch.tensor([dog]), smooth=0.0) > alone + 40
    taught = [words.classes[k] for k in lessons.under[dog].nonzero()[:, 0].tolist()]
    assert len(taught) == 118  # ImageNet's breeds of dogs
    assert "Airedale" in taught
    values = 2 * torch.rand(300, 1280, generator=torch.Generator().manual_seed(0)).half()
    seen = ranker.Features(values, ("dog",) * 300, np.array(["photo"] * 300), np.zeros(300, bool))
    lessons = ranker.Lessons(words, seen, net)
    imagined = lessons.imagine(np.random.default_rng(0), 64)
    sure = lessons.teacher(imagined).softmax(1).max(1).values
    assert sure.median() > 2 * lessons.teacher(values.float()).softmax(1).max(1).values.median()


def test_texture_is_one_where_it_goes_on_and_none_where_the_hole_is_flat():
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8)
    hole = np.zeros((64, 64), bool)
    hole[20:44, 20:44] = True
    assert rows.texture(noise, hole) == pytest.approx(1, abs=0.15)
    noise[hole] = 128
    assert rows.texture(noise, hole) < 0.01
    assert np.isnan(rows.texture(np.full((64, 64, 3), 9, np.uint8), hole))


def test_calibration_error_is_how_far_confidence_is_from_the_truth():
    # By hand: 4 of 0.9 of which 2 are right, 6 of 0.3 of which 3 are: (4 * 0.4 + 6 * 0.2) / 10.
    sure = [0.9] * 4 + [0.3] * 6
    right = [True, True, False, False] + [True, False] * 3
    assert rows.calibration_error(sure, right) == pytest.approx(0.28)
    assert rows.calibration_error([1.0, 1.0], [True, True]) == 0


def test_trained_filler_opens_through_simple_lama_and_keeps_what_is_known(work, tmp_path):
    from forgetme.stages.inpaint import Inpainter
    from forgetme.tiny import filler

    filler.train(tmp_path, work, settings=replace(filler.SETTINGS, steps=2, batch=2), scenes=6)
    scene = render_scene(3)
    filled = Inpainter(tmp_path / "filler.pt", scale=256)(scene.image, scene.mask)
    assert np.array_equal(filled[~scene.mask], scene.image[~scene.mask])
    assert not np.array_equal(filled[scene.mask], scene.image[scene.mask])


def test_first_guess_of_the_filler_is_exact_on_a_flat_picture():
    from forgetme.tiny.filler import Filler

    model = Filler().eval()
    image = torch.full((1, 3, 64, 96), 0.3)
    mask = torch.zeros(1, 1, 64, 96)
    mask[..., 20:50, 10:70] = 1
    with torch.no_grad():
        filled = model(image * (1 - mask), mask)
    assert torch.allclose(filled, image, atol=1e-5)


def test_holes_differ_from_the_truth_only_inside(work):
    from forgetme.tiny.filler import Holes

    holes = Holes(scene_bank(work / "scenes", 6), [])
    rng = np.random.default_rng(0)
    for _ in range(40):
        image, hole, truth = holes.draw(rng)
        assert hole.any()
        assert image.shape == truth.shape == (*hole.shape, 3)


def test_close_ups_hold_the_whole_object(work):
    from forgetme.tiny import diffusion

    bank = scene_bank(work / "scenes", 6)
    marked = np.repeat((bank.ids == 1)[..., None], 3, 3) * np.uint8(255)
    seen = diffusion.close_ups(replace(bank, images=marked), 0)
    assert seen.shape == (6, 128, 128, 3)
    for row, shape in zip(bank.ids == 1, seen[..., 0] > 127, strict=True):
        sides = [
            np.ptp(np.flatnonzero(one.any(axis))) + 1 for one in (row, shape) for axis in (0, 1)
        ]
        grown = sides[2] / sides[0]
        assert sides[3] / sides[1] == pytest.approx(grown, rel=0.1)  # nothing is cut off
        assert 0.5 < max(sides[2:]) / 128 < 0.9 or max(sides[:2]) < 40


def test_trained_diffusion_opens_as_a_stable_diffusion_pipeline_and_goes_on(tmp_path, monkeypatch):
    from diffusers import StableDiffusionPipeline

    from forgetme.tiny import diffusion, sharpen

    monkeypatch.setattr(
        diffusion, "VAE_SETTINGS", replace(diffusion.VAE_SETTINGS, steps=2, batch=2)
    )
    monkeypatch.setattr(sharpen, "SETTINGS", replace(sharpen.SETTINGS, steps=3, batch=2))
    settings = replace(diffusion.SETTINGS, steps=2, batch=2)
    first, second = tmp_path / "out", tmp_path / "more"
    parts = diffusion.train(first, tmp_path / "work", settings=settings, scenes=5, near=4)
    assert set(parts) == {"vae", "sharpened", "unet"}
    bank = tmp_path / "again"
    bank.mkdir()
    for name in ("scenes128", "near"):
        (tmp_path / "work" / name).rename(bank / name)
    more = diffusion.train(second, bank, settings=settings, scenes=5, near=4, start=first)
    assert set(more) == {"sharpened", "unet"}
    written = [one.read_text() for one in second.rglob("*.json")]
    assert not any(str(tmp_path) in one for one in written)  # what is shipped names no folder here
    pipes = [
        StableDiffusionPipeline.from_pretrained(one / "diffusion", dtype=torch.float32)
        for one in (first, second)
    ]
    assert pipes[0].vae.config.scaling_factor == pipes[1].vae.config.scaling_factor
    weights = [next(pipe.unet.parameters()) for pipe in pipes]
    assert 0 < (weights[0] - weights[1]).abs().max() < 0.01  # from there, a little further
    pipes[1].set_progress_bar_config(disable=True)
    picture = pipes[1]("a photo of a cat", num_inference_steps=2, output_type="np").images[0]
    assert picture.shape == (128, 128, 3)
    words = pipes[1].tokenizer.tokenize("a photo of a mushroom")
    assert words[-1] == "mushroom</w>"


def test_shipped_weights_keep_float16_accuracy(work, tmp_path):
    from forgetme.tiny import segmenter

    segmenter.train(tmp_path, work, settings=replace(segmenter.SETTINGS, steps=1), scenes=6)
    assert {t.dtype for t in load_file(tmp_path / "segmenter.safetensors").values()} == {
        torch.float16
    }


class Oracle:
    """A segmenter that knows the truth, to measure the measures."""

    def __init__(self, truth):
        self.truth = truth

    def __call__(self, image):
        from forgetme.record.masks import box_xywh
        from forgetme.record.sample import Proposal

        return [Proposal(self.truth, box_xywh(self.truth), 1.0, 1.0, "truth")]

    def click(self, image, points_xy, labels, *, mask=None, box_xywh=None):
        if len(points_xy) == 1:
            half = self.truth.copy()
            half[:, : half.shape[1] // 2] = False
            from forgetme.record.sample import Proposal

            return [Proposal(half, (0, 0, 1, 1), 1.0, 1.0, "half")]
        return self(image)


def test_simulated_clicks_go_to_the_largest_error_and_are_counted():
    from types import SimpleNamespace

    truth = np.zeros((40, 40), bool)
    truth[10:30, 10:30] = True
    models = SimpleNamespace(segmenter=Oracle(truth))
    image = np.zeros((40, 40, 3), np.uint8)
    found = rows.clicked_ious(image, truth, models, 3)
    assert found == [0.5, 1.0, 1.0]
    assert rows.middle(truth) in {(x, y) for x in (19, 20) for y in (19, 20)}


def test_grabcut_baseline_finds_a_plain_square():
    image = np.full((80, 80, 3), 30, np.uint8)
    image += np.random.default_rng(0).integers(0, 8, image.shape, dtype=np.uint8)
    mask = np.zeros((80, 80), bool)
    mask[20:60, 20:60] = True
    image[mask] = (220, 60, 40)
    assert on_photos._grabcut(Photo(image, mask, "square", "square")) > 0.9


def test_check_refuses_seeds_that_were_trained_on():
    with pytest.raises(ValueError, match="trained"):
        checks.check(None, seed=10_000_000)


def test_names_reach_their_words_through_the_text_tower_of_open_clip(tmp_path):
    import open_clip

    from forgetme.stages.vocabulary import Vocabulary
    from forgetme.tiny import names, ranker

    torch.manual_seed(0)
    known = Vocabulary(["cat", "hot dog", "teddy bear"], None, {"cat": ["kitten"]})
    head = names.Head(3, 8).requires_grad_(False)
    model = open_clip.CLIP(**ranker.model_config()).eval()
    names.train_text(model, known, head, replace(ranker.TEXT_SETTINGS, steps=150), tmp_path, None)
    tokenizer = open_clip.SimpleTokenizer(context_length=names.CONTEXT)
    for place, said in ((0, "a photo of a cat"), (0, "kitten"), (1, "a picture of a hot dog")):
        with torch.no_grad():
            found = model.encode_text(tokenizer([said]), normalize=True)
        assert (found @ head.table().T).argmax() == place
        assert (found @ head.table()[place]).item() > 0.95
