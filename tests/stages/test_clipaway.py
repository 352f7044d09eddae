"""CLIPAway: the published formats at small size, the projection, and no trace left behind."""

from __future__ import annotations

import json
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from scipy.special import erf
from small_models import save_diffusion
from test_weights import Server

from forgetme.errors import MissingModelError
from forgetme.scenes import render_scene
from forgetme.stages import weights as shelf
from forgetme.stages.clipaway import load_clipaway
from forgetme.stages.clipaway.adapter import Adapter, AdapterTensors, read_adapter
from forgetme.stages.clipaway.fill import PUBLISHED_FILES, TINY_FILES, ClipAwaySettings
from forgetme.stages.clipaway.mapping import build_mapping, load_mapping, project
from forgetme.stages.clipaway.tower import AlphaClip, load_alpha_clip
from forgetme.stages.diffusion import Diffusion
from forgetme.stages.models import load_models

TOWER, SPACE, TEXT = 16, 24, 32  # dimensions of AlphaCLIP, of the IP-Adapter and of the U-Net
VIT = {
    "embed_dim": TOWER,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 28, "layers": 2, "width": 128, "patch_size": 14},
}
RESNET = {
    "embed_dim": TOWER,
    "vision_cfg": {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8, "head_width": 32},
}
NO_TEXT = {"context_length": 4, "vocab_size": 8, "width": 8, "heads": 1, "layers": 1}
CROSS_WIDTHS = (16, 32, 32, 32)  # of small_models' U-Net: down, up twice, middle


def plain_tower(config, seed=0):
    """A tower of open_clip itself, and the sister convolution that AlphaCLIP adds."""
    torch.manual_seed(seed)
    visual = open_clip.CLIP(**config, text_cfg=NO_TEXT).visual.eval()
    conv = visual.conv1
    alpha = torch.nn.Conv2d(
        1, conv.out_channels, conv.kernel_size, conv.stride, conv.padding, bias=False
    )
    return visual, alpha


def published_tower(visual, alpha):
    """State dict as the published file has it: its attention names a linear layer `in_proj`."""
    state = {k.replace("in_proj_", "in_proj."): v for k, v in visual.state_dict().items()}
    return {**state, "conv1_alpha.weight": alpha.weight.detach()}


def small_adapter(unet, seed=2):
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(shape, generator=generator)

    names = [n for n in unet.attn_processors if "attn2" in n]
    widths = [unet.get_submodule(n.removesuffix(".processor")).to_q.out_features for n in names]
    layers = {
        f"{2 * i + 1}.{kind}.weight": draw(width, TEXT)
        for i, width in enumerate(widths)
        for kind in ("to_k_ip", "to_v_ip")
    }
    image_proj = {
        "proj.weight": draw(4 * TEXT, SPACE),
        "proj.bias": draw(4 * TEXT),
        "norm.weight": torch.ones(TEXT),
        "norm.bias": draw(TEXT),
    }
    return AdapterTensors(image_proj, layers)


def save_published(folder, unet):
    """The three files with small random tensors, under the published names and formats."""
    folder.mkdir()
    torch.save(published_tower(*plain_tower(VIT)), folder / PUBLISHED_FILES[0])
    torch.manual_seed(1)
    save_file(build_mapping(TOWER, SPACE).state_dict(), folder / PUBLISHED_FILES[1])
    tensors = small_adapter(unet)
    parts = {"image_proj": tensors.image_proj, "ip_adapter": tensors.ip_adapter}
    torch.save(parts, folder / PUBLISHED_FILES[2])
    return folder


def tensors_of(state):
    return {name: value.clone() for name, value in state.items()}


def noise(height, width):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def box_mask(height, width, x, y, w, h):
    mask = np.zeros((height, width), bool)
    mask[y : y + h, x : x + w] = True
    return mask


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Folders of a plain and of an inpainting model, and of CLIPAway for them."""
    home = tmp_path_factory.mktemp("clipaway")
    save_diffusion(home / "four")
    save_diffusion(home / "nine", in_channels=9)
    save_published(home / "published", Diffusion(home / "four").pipe.unet)
    return home


@pytest.fixture(params=["four", "nine"])
def models(request, folders):
    """The preset as `load_models` gives it: drawn by four channels, inpainted by four or nine."""
    name = str(folders / "four")
    name += f"+{folders / 'nine'}" if request.param == "nine" else ""
    return load_models("full", device="cpu", diffusion=name)


@pytest.fixture
def clipaway(models, folders):
    return load_clipaway(models, weights=folders / "published")


class TestProjection:
    def test_published_example(self):
        background, foreground = torch.tensor([[1.0, 2, 3]]), torch.tensor([[0.0, 3, 4]])
        assert project(background, foreground)[0].tolist() == pytest.approx([1, -0.16, 0.12])

    def test_nothing_is_left_along_the_foreground_row_by_row(self):
        background, foreground = torch.randn(2, 5, 64, dtype=torch.float64)
        left = project(background, foreground)
        np.testing.assert_allclose((left * foreground).sum(1), 0, atol=1e-12)
        pieces = (background - left) / foreground  # what was taken is a multiple of it
        np.testing.assert_allclose(pieces, pieces[:, :1].expand(-1, 64), rtol=1e-8)


class TestMapping:
    def test_published_size_and_names(self):
        with torch.device("meta"):
            mapping = build_mapping(768, 1024)
        assert sum(p.numel() for p in mapping.parameters()) == 5_718_784
        shapes = {k: tuple(v.shape) for k, v in mapping.state_dict().items()}
        assert shapes["6.weight"] == (768, 768)
        assert shapes["9.weight"] == (1024, 768)
        assert shapes["12.weight"] == shapes["18.weight"] == (1024, 1024)
        assert "19.weight" not in shapes

    def test_loaded_network_computes_blocks_of_linear_norm_and_gelu(self, tmp_path):
        torch.manual_seed(0)
        state = {k: torch.randn_like(v) for k, v in build_mapping(8, 12).state_dict().items()}
        save_file(state, tmp_path / "model.safetensors")
        x = np.random.default_rng(0).normal(size=(3, 8))
        with torch.no_grad():
            found = load_mapping(tmp_path / "model.safetensors")(torch.from_numpy(x).float())
        p = {k: v.double().numpy() for k, v in state.items()}
        for i in range(0, 18, 3):
            x = x @ p[f"{i}.weight"].T + p[f"{i}.bias"]
            x = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5)
            x = x * p[f"{i + 1}.weight"] + p[f"{i + 1}.bias"]
            x = 0.5 * x * (1 + erf(x / np.sqrt(2)))
        x = x @ p["18.weight"].T + p["18.bias"]
        np.testing.assert_allclose(found.numpy(), x, rtol=2e-4, atol=2e-4)

    def test_another_file_is_refused(self, tmp_path):
        save_file({"0.weight": torch.zeros(2, 2)}, tmp_path / "model.safetensors")
        with pytest.raises(MissingModelError, match="mapping network"):
            load_mapping(tmp_path / "model.safetensors")


class TestTower:
    @pytest.mark.parametrize("config", [VIT, RESNET], ids=["vit", "resnet"])
    def test_published_file_sees_picture_and_alpha_through_two_convolutions(self, tmp_path, config):
        visual, alpha = plain_tower(config)
        torch.save(published_tower(visual, alpha), tmp_path / "tower.pth")
        tower = load_alpha_clip(tmp_path / "tower.pth", config=None if config is VIT else config)
        images = np.stack([noise(tower.size, tower.size), 255 - noise(tower.size, tower.size)])
        alphas = np.stack([box_mask(tower.size, tower.size, 3, 5, 9, 11)] * 2)
        rgb = torch.from_numpy(images).permute(0, 3, 1, 2) / 255
        mean, std = open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD
        rgb = (rgb - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
        shown = (torch.from_numpy(alphas)[:, None].float() - 0.5) / 0.26
        visual.conv1.register_forward_hook(lambda _, __, out: out + alpha(shown))
        with torch.no_grad():
            wanted = visual(rgb)
        np.testing.assert_allclose(tower(images, alphas), wanted, rtol=1e-4, atol=1e-5)
        elsewhere = tower(images, ~alphas)
        assert (elsewhere - wanted).abs().max() > 1e-3

    def test_a_tower_with_a_fresh_alpha_sees_what_it_saw_before(self):
        from forgetme.stages.clipaway.tower import add_alpha

        visual, _ = plain_tower(RESNET)
        rgb = torch.randn(2, 3, 32, 32)
        with torch.no_grad():
            wanted = visual(rgb)
            found = add_alpha(visual)(torch.cat([rgb, torch.randn(2, 1, 32, 32)], 1))
        np.testing.assert_allclose(found, wanted, atol=1e-6)

    def test_picture_and_alpha_are_squashed_to_the_same_square(self):
        tower = AlphaClip(plain_tower(VIT)[0])
        image = np.full((40, 80, 3), (10, 20, 30), np.uint8)
        image[:, 40:] = (200, 100, 50)
        alpha = np.zeros((40, 80), bool)
        alpha[:, 40:] = True
        found = tower.pixels(image[None], alpha[None])
        assert found.shape == (1, 4, 28, 28)
        mean, std = open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD
        right = [(v / 255 - m) / s for v, m, s in zip((200, 100, 50), mean, std, strict=True)]
        assert found[0, :, 14, 27].tolist() == pytest.approx([*right, 0.5 / 0.26], abs=1e-4)
        assert found[0, 3, 14, 0] == pytest.approx(-0.5 / 0.26)

    @pytest.mark.parametrize("fault", ["missing", "surplus", "shape", "code"])
    def test_a_file_that_is_not_such_a_tower_is_refused(self, tmp_path, fault):
        state = published_tower(*plain_tower(VIT))
        if fault == "missing":
            del state["ln_post.bias"]
        if fault == "surplus":
            state["transformer.resblocks.0.attn.logit_scale"] = torch.zeros(1)
        if fault == "shape":
            state["conv1_alpha.weight"] = torch.zeros(128, 3, 14, 14)
        if fault == "code":
            state = {"tower": Path("code")}  # any class at all
        torch.save(state, tmp_path / "tower.pth")
        with pytest.raises(MissingModelError, match="AlphaCLIP"):
            load_alpha_clip(tmp_path / "tower.pth")


class TestAdapter:
    @pytest.fixture
    def pipe(self, folders):
        return Diffusion(folders / "four").pipe

    def ask(self, unet, embeds=None):
        torch.manual_seed(0)
        more = {} if embeds is None else {"added_cond_kwargs": {"image_embeds": [embeds]}}
        with torch.no_grad():
            return unet(
                torch.randn(2, 4, 8, 8), 500, encoder_hidden_states=torch.randn(2, 16, TEXT), **more
            ).sample

    def test_worn_it_is_what_diffusers_loads_from_the_published_file(self, pipe, folders, tmp_path):
        tensors = small_adapter(pipe.unet)
        save_file(tensors.flat(), tmp_path / "ip-adapter_sd15.safetensors")
        other = Diffusion(folders / "four").pipe
        other.load_ip_adapter(
            str(tmp_path), "", "ip-adapter_sd15.safetensors", image_encoder_folder=None
        )
        embeds = torch.randn(2, 1, SPACE, generator=torch.Generator().manual_seed(3))
        adapter = Adapter(pipe, read_adapter(tmp_path / "ip-adapter_sd15.safetensors"))
        with adapter.on():
            found = self.ask(pipe.unet, embeds)
        assert torch.equal(found, self.ask(other.unet, embeds))
        assert not torch.allclose(found, self.ask(pipe.unet), atol=1e-2)

    def test_taken_off_it_leaves_no_trace_even_after_an_error(self, pipe):
        unet = pipe.unet
        before, state = self.ask(unet), tensors_of(unet.state_dict())
        processors, config = dict(unet.attn_processors), dict(unet.config)
        adapter = Adapter(pipe, small_adapter(unet))
        with pytest.raises(KeyError), adapter.on():
            raise KeyError
        assert torch.equal(self.ask(unet), before)
        assert unet.attn_processors == processors
        assert dict(unet.config) == config
        assert unet.config.encoder_hid_dim_type is None
        assert unet.encoder_hid_proj is None
        found = unet.state_dict()
        assert found.keys() == state.keys()
        assert all(torch.equal(found[name], value) for name, value in state.items())

    def test_an_adapter_for_another_model_is_refused_and_nothing_changed(self, pipe):
        good = small_adapter(pipe.unet)
        wide = {k: torch.zeros(v.shape[0], 64) for k, v in good.ip_adapter.items()}
        before = self.ask(pipe.unet)
        with pytest.raises(ValueError, match=r"must be \(16, 32\), got \(16, 64\)"):
            Adapter(pipe, replace(good, ip_adapter=wide))
        few = {k: v for k, v in good.ip_adapter.items() if k[0] == "1"}
        with pytest.raises(ValueError, match="3.to_k_ip.weight must be .* got None"):
            Adapter(pipe, replace(good, ip_adapter=few))
        assert torch.equal(self.ask(pipe.unet), before)

    def test_another_kind_of_adapter_is_refused(self, tmp_path):
        plus = {"image_proj.latents": torch.zeros(1), "ip_adapter.1.to_k_ip.weight": torch.zeros(1)}
        save_file(plus, tmp_path / "plus.safetensors")
        with pytest.raises(MissingModelError, match="linear projection"):
            read_adapter(tmp_path / "plus.safetensors")


class TestFill:
    def test_only_the_object_changes_and_the_seed_decides_how(self, clipaway):
        image, mask = noise(97, 131), box_mask(97, 131, 30, 20, 25, 31)
        filled = clipaway.fill(image, mask, seed=1, steps=2)
        np.testing.assert_array_equal(filled[~mask], image[~mask])
        assert (filled[mask] != image[mask]).mean() > 0.9
        np.testing.assert_array_equal(filled, clipaway.fill(image, mask, seed=1, steps=2))
        other = clipaway.fill(image, mask, seed=2, steps=2)
        assert (filled[mask] != other[mask]).mean() > 0.5

    @pytest.mark.bundled
    def test_the_bundled_weights_see_the_object_and_what_is_around_it(self):
        scene = render_scene(8_880_005, concept="balloon")
        clipaway = load_clipaway(load_models("tiny"))
        seen = clipaway.focus(scene.image, scene.mask)
        everything = np.ones_like(scene.mask)
        shown = (scene.image, scene.background)
        whole, behind = (clipaway.focus(one, everything).foreground[0] for one in shown)
        told = torch.cosine_similarity(seen.foreground[0] - seen.background[0], whole - behind, 0)
        assert told > 0.3  # what the object adds to the picture; of random weights it is near 0
        filled = clipaway.fill(scene.image, scene.mask, seed=0, steps=8)
        np.testing.assert_array_equal(filled[~scene.mask], scene.image[~scene.mask])

    def test_other_users_of_the_model_see_no_trace_bit_for_bit(self, models, folders):
        image, mask = noise(64, 64), box_mask(64, 64, 16, 16, 24, 24)
        diffusion = models.diffusion
        parts = {"pipe": dict(diffusion.pipe.components)}
        parts["inpaint"] = dict(diffusion._inpaint.components)

        def use():
            painted = diffusion.inpaint(image, mask, "meadow", seed=3, steps=2)
            return painted, diffusion.generate("cat", seed=3, steps=2)

        before = use()
        clipaway = load_clipaway(models, weights=folders / "published")
        after_loading = use()
        clipaway.fill(image, mask, seed=0, steps=2)

        def stop(done, total):
            raise InterruptedError

        with pytest.raises(InterruptedError):
            clipaway.fill(image, mask, seed=0, steps=2, progress=stop)
        for found in (after_loading, use()):
            np.testing.assert_array_equal(found[0], before[0])
            np.testing.assert_array_equal(found[1], before[1])
        assert diffusion.pipe.components == parts["pipe"]
        assert diffusion._inpaint.components == parts["inpaint"]

    def test_it_is_the_published_call_of_the_pipeline(self, clipaway, models, folders):
        image, mask = noise(64, 64), box_mask(64, 64, 16, 8, 32, 40)  # whole cells, no crop
        found = clipaway.fill(image, mask, seed=5, steps=3)
        seen = clipaway.focus(image, mask)
        pipe = clipaway._pipe  # the reference: plain diffusers, its adapter loaded for good
        torch_parts = torch.load(folders / "published" / PUBLISHED_FILES[2], weights_only=True)
        pipe.load_ip_adapter(torch_parts, "", "", image_encoder_folder=None)
        to_pil = Image.fromarray
        picture = pipe(
            prompt="",
            negative_prompt="monochrome, lowres, bad anatomy, worst quality, low quality",
            image=to_pil(image),
            mask_image=to_pil(mask.astype(np.uint8) * 255),
            ip_adapter_image_embeds=[torch.cat([seen.nothing, seen.projected])[:, None]],
            generator=torch.Generator().manual_seed(5),
            strength=1.0,
            guidance_scale=7.5,
            num_inference_steps=3,
            height=64,
            width=64,
            output_type="np",
        ).images[0]
        pipe.unload_ip_adapter()
        inside = box_mask(64, 64, 20, 12, 24, 32)  # away from the feathered rim
        wanted = (picture * 255).round().astype(np.uint8)
        np.testing.assert_array_equal(found[inside], wanted[inside])

    def test_object_and_background_are_seen_apart_and_the_object_is_taken_out(
        self, clipaway, folders
    ):
        image, mask = noise(64, 64), box_mask(64, 64, 16, 8, 32, 40)
        seen = clipaway.focus(image, mask)
        tower = load_alpha_clip(folders / "published" / PUBLISHED_FILES[0])
        mapping = load_mapping(folders / "published" / PUBLISHED_FILES[1])
        on, around = tower(np.stack([image] * 2), np.stack([mask, ~mask]))
        assert torch.allclose(seen.foreground, mapping(on[None]), atol=1e-5)
        assert torch.allclose(seen.background, mapping(around[None]), atol=1e-5)
        assert torch.allclose(seen.nothing, mapping(torch.zeros(1, TOWER)), atol=1e-6)
        assert torch.allclose(seen.projected, project(seen.background, seen.foreground), atol=1e-6)
        assert (seen.projected @ seen.foreground.T).abs() < 1e-3

    def test_an_empty_mask_changes_nothing_and_a_wrong_one_is_refused(self, clipaway):
        image = noise(64, 64)
        empty = np.zeros((64, 64), bool)
        np.testing.assert_array_equal(clipaway.fill(image, empty, seed=0, steps=1), image)
        with pytest.raises(ValueError, match="mask"):
            clipaway.fill(image, np.ones((32, 32), bool), seed=0, steps=1)


class TestLoading:
    def test_the_record_names_both_sets_of_weights(self, clipaway, models, folders, tmp_path):
        name, _, painter = clipaway.made_by.partition("+")
        assert name.startswith("clipaway@")
        assert painter == models.diffusion.made_by
        other = shutil.copytree(folders / "published", tmp_path / "other")
        torch.manual_seed(9)
        save_file(build_mapping(TOWER, SPACE).state_dict(), other / PUBLISHED_FILES[1])
        assert load_clipaway(models, weights=other).made_by != clipaway.made_by

    def test_the_adapter_in_safetensors_serves_as_well(self, clipaway, models, folders, tmp_path):
        other = shutil.copytree(folders / "published", tmp_path / "other")
        parts = torch.load(other / PUBLISHED_FILES[2], weights_only=True)
        (other / PUBLISHED_FILES[2]).unlink()
        tensors = AdapterTensors(parts["image_proj"], parts["ip_adapter"])
        save_file(tensors.flat(), other / "ip-adapter_sd15.safetensors")
        image, mask = noise(64, 64), box_mask(64, 64, 16, 16, 24, 24)
        np.testing.assert_array_equal(
            load_clipaway(models, weights=other).fill(image, mask, seed=0, steps=1),
            clipaway.fill(image, mask, seed=0, steps=1),
        )

    def test_a_missing_file_is_named(self, models, folders, tmp_path):
        other = shutil.copytree(folders / "published", tmp_path / "other")
        (other / PUBLISHED_FILES[1]).unlink()
        with pytest.raises(MissingModelError, match="no model.safetensors"):
            load_clipaway(models, weights=other)

    def test_missing_weights_of_a_preset_name_the_command(self, models, tmp_path, monkeypatch):
        with pytest.raises(MissingModelError, match="doctor --download clipaway"):
            load_clipaway(models, cache=tmp_path)
        monkeypatch.setattr("forgetme.stages.clipaway.fill.BUNDLED", tmp_path)
        with pytest.raises(MissingModelError, match="tiny train clipaway"):
            load_clipaway(replace(models, preset="tiny"))

    def test_the_authors_space_is_downloaded_and_opens(self, folders, tmp_path):
        server = Server()
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        listing = []
        for name in PUBLISHED_FILES:
            body = (folders / "published" / name).read_bytes()
            server.files[f"/spaces/yigitekin/CLIPAway/resolve/main/{name}"] = body
            listing.append({"path": name, "size": len(body)})
        tree = "/api/spaces/yigitekin/CLIPAway/tree/main?recursive=true"
        server.files[tree] = json.dumps(listing).encode()
        try:
            shelf.download("clipaway", cache=tmp_path, hub=server.url, first_wait=0.01)
        finally:
            server.shutdown()
            thread.join()
            server.server_close()
        models = load_models("full", device="cpu", diffusion=str(folders / "four"))
        clipaway = load_clipaway(models, cache=tmp_path)
        assert clipaway.settings == ClipAwaySettings()
        assert clipaway.made_by.startswith("clipaway@")


@pytest.fixture(scope="module")
def trained(small_assets, tmp_path_factory):
    """Two steps of each part, on six scenes, for the small models."""
    from forgetme.tiny import clipaway as trainer
    from forgetme.tiny.bank import scene_bank

    home = tmp_path_factory.mktemp("train")
    out = shutil.copytree(small_assets, home / "out")
    scene_bank(home / "work" / "scenes", 6, first_seed=5)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("ALPHA_SETTINGS", "MAPPING_SETTINGS"):
            short = replace(getattr(trainer, name), steps=2, batch=2)
            patch.setattr(trainer, name, short)
        settings = replace(trainer.SETTINGS, steps=2, batch=2)
        parts = trainer.train(out, home / "work", settings=settings, scenes=6)
    return home, parts


class TestTraining:
    def test_what_was_trained_opens_and_fills(self, trained):
        home, parts = trained
        models = load_models("tiny", assets=home / "out", device="cpu")
        clipaway = load_clipaway(models, weights=home / "out" / "clipaway")
        assert clipaway.made_by.startswith("tiny/clipaway@")
        image, mask = noise(80, 80), box_mask(80, 80, 20, 20, 30, 30)
        filled = clipaway.fill(image, mask, seed=0, steps=2)
        np.testing.assert_array_equal(filled[~mask], image[~mask])
        assert (filled[mask] != image[mask]).mean() > 0.9
        for part, file in zip(parts, TINY_FILES, strict=True):
            tensors = load_file(home / "out" / "clipaway" / file)
            assert sum(t.numel() for t in tensors.values()) == parts[part]
            run = json.loads((home / "work" / part / "run.json").read_text())
            assert run["step"] == 2

    def test_the_models_it_builds_on_stay_as_they_are(self, trained, small_assets):
        home, _ = trained
        for path in small_assets.rglob("*.*"):
            if path.is_file():
                assert (home / "out" / path.relative_to(small_assets)).read_bytes() == (
                    path.read_bytes()
                )

    def test_the_tower_learns_from_the_rankers_and_the_adapter_from_the_text(self, trained):
        home, _ = trained
        ranker = load_file(home / "out" / "ranker.safetensors")
        tower = load_file(home / "out" / "clipaway" / TINY_FILES[0])
        np.testing.assert_allclose(  # two small steps away
            tower["conv1.weight"].float(), ranker["visual.conv1.weight"], atol=5e-3
        )
        assert tower["conv1_alpha.weight"].any()
        adapter = load_file(home / "out" / "clipaway" / TINY_FILES[2])
        unet = load_models("tiny", assets=home / "out", device="cpu").diffusion.pipe.unet
        cross = unet.down_blocks[0].attentions[0].transformer_blocks[0].attn2
        found = adapter["ip_adapter.1.to_k_ip.weight"].float()
        np.testing.assert_allclose(found, cross.to_k.weight.detach(), atol=5e-3)

    def test_a_view_hides_the_object_in_whole_cells(self, trained):
        from forgetme.scenes import render_scene
        from forgetme.tiny import clipaway as trainer
        from forgetme.tiny.bank import scene_bank

        bank = scene_bank(trained[0] / "work" / "scenes", 6)
        rng = np.random.default_rng(0)
        for row in trainer.rows_with_object(bank):
            assert render_scene(5 + int(row)).mask.any()
            image, background, cutout, hole = trainer.draw_view(bank, int(row), rng, 32)
            cells = hole.reshape(16, 8, 16, 8)
            np.testing.assert_array_equal(cells.any((1, 3)), cells.all((1, 3)))
            changed = (image != background).any(2)
            assert changed[hole].mean() > 2 * changed[~hole].mean()
            assert cutout.shape == (32, 32, 3)
