"""Whatever goes wrong with a run is said in plain words, and what was saved stays whole."""

from __future__ import annotations

import json
import logging
import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from test_store_crash import ENVIRONMENT, TESTS, mount_command
from train_base import base, items

from forgetme.errors import ForgetmeError
from forgetme.train import RunSettings, Wardrobe, check, items_of_folder, read_patch, train
from forgetme.train.checkpoint import NAME as CHECKPOINT
from forgetme.train.checkpoint import steps as saved_steps
from forgetme.train.patch import LORA_FILE, write_delta

__all__ = ["base", "items"]

CAT = RunSettings("lora", "cat", steps=4, lr=1e-2, batch=2, rank=2, probe_every=0, save_every=2)


def opened(folder: Path):
    from diffusers import StableDiffusionPipeline

    return StableDiffusionPipeline.from_pretrained(folder, safety_checker=None)


@pytest.fixture
def fresh(base: Path) -> Callable:
    return lambda: opened(base)


@pytest.fixture(scope="module")
def made(base: Path, drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run that no test changes."""
    out = tmp_path_factory.mktemp("made") / "run"
    train(opened(base), items_of_folder(drawn), CAT, out, base="small")
    return out


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    """A copy of the finished run, to be damaged."""
    return Path(shutil.copytree(made, tmp_path / "run"))


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(next(read_patch(folder).folder.glob("*.safetensors")))


def same(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> bool:
    return ours.keys() == theirs.keys() and all(torch.equal(ours[n], theirs[n]) for n in ours)


def said_rows(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


# ------------------------------------------------------------------ data and prompts


def test_one_picture_is_enough_and_is_warned_of(fresh, items, tmp_path, caplog) -> None:
    with caplog.at_level(logging.WARNING):
        result = train(fresh(), items[:1], replace(CAT, steps=1), tmp_path)
    assert result.finished
    assert "there is one picture of cat" in caplog.text


@pytest.mark.parametrize("prompt", ["<cat>", "two Cats asleep", "a photo of a\tcat.", ""])
def test_a_prompt_that_names_the_concept_is_taken(items, prompt: str) -> None:
    check(replace(CAT, prompt=prompt), items)


@pytest.mark.parametrize("prompt", ["a photo of a dog", "a category", "<sks>", "a bobcat"])
def test_a_prompt_that_does_not_is_refused_unless_it_is_meant(items, prompt: str) -> None:
    with pytest.raises(ForgetmeError, match="does not name 'cat'.*--any-prompt"):
        check(replace(CAT, prompt=prompt), items)
    check(replace(CAT, prompt=prompt, any_prompt=True), items)


def test_concepts_of_several_words_and_other_writings_are_found(items) -> None:
    check(replace(CAT, concept="golden_retriever", prompt="Golden  Retriever in snow"), items)
    check(replace(CAT, concept="猫", prompt="一只猫的照片"), items)


def test_a_picture_deleted_between_start_and_resume_is_missed(fresh, run, drawn, tmp_path) -> None:
    data = Path(shutil.copytree(drawn, tmp_path / "data"))
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    shutil.rmtree(data / "mask")
    with pytest.raises(ForgetmeError, match="has no folder mask/"):
        items_of_folder(data)
    shutil.copytree(drawn / "mask", data / "mask")
    next((data / "mask").iterdir()).unlink()
    with pytest.raises(ForgetmeError, match=r"it had 4 of them, now there are 3.*Bring them back"):
        train(fresh(), items_of_folder(data), replace(CAT, steps=6), run, base="small")
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_a_run_of_another_base_model_is_refused(fresh, items, run) -> None:
    with pytest.raises(ForgetmeError, match="changes small, not other"):
        train(fresh(), items, CAT, run, base="other")


# ------------------------------------------------------------------ patches


def other_model(folder: Path, change: Callable) -> Path:
    """The small model with other weights or another shape."""
    from diffusers import UNet2DConditionModel

    unet = UNet2DConditionModel.from_pretrained(folder / "unet")
    change(unet).save_pretrained(folder / "unet")
    return folder


def redrawn(unet):
    torch.manual_seed(7)
    for parameter in unet.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return unet


def narrower(unet):
    return type(unet).from_config({**unet.config, "cross_attention_dim": 16})


def test_a_lora_patch_of_a_model_of_another_shape_is_refused(base, made, tmp_path) -> None:
    pipe = opened(base)
    pipe.unet = narrower(pipe.unet)
    with pytest.raises(ForgetmeError, match=r"attn2.to_k.weight \(\d+, 32\).*was made for small"):
        Wardrobe(pipe).wear(read_patch(made))
    assert not any("lora" in name for name, _ in pipe.unet.named_parameters())


def test_a_patch_on_other_weights_of_the_same_shape_is_warned_of(base, made, tmp_path, caplog):
    copy = Path(shutil.copytree(base, tmp_path / "copy"))
    pipe = opened(other_model(copy, redrawn))
    Wardrobe(pipe).wear(read_patch(made))
    assert "was made for small; this model has other weights" in caplog.text


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_the_same_model_in_any_precision_is_known_again(base, made, caplog, dtype) -> None:
    Wardrobe(opened(base).to(dtype)).wear(read_patch(made))
    assert "other weights" not in caplog.text


@pytest.mark.parametrize(
    "change",
    [
        {"method": "../../x"},
        {"method": "a.b"},
        {"trains": ["lora"]},
        {"base": {"x": 1}},
        {"base_notes": "../../x"},
    ],
)
def test_a_record_of_a_stranger_is_refused(made, tmp_path, change) -> None:
    folder = Path(shutil.copytree(read_patch(made).folder, tmp_path / "patch"))
    record = json.loads((folder / "patch.json").read_text())
    (folder / "patch.json").write_text(json.dumps(record | change))
    with pytest.raises(ForgetmeError, match="not the record of a patch"):
        read_patch(folder)


def test_a_lora_of_a_stranger_is_refused_before_it_is_loaded(fresh, made, tmp_path) -> None:
    folder = Path(shutil.copytree(read_patch(made).folder, tmp_path / "patch"))
    file, pipe = folder / LORA_FILE, fresh()
    tensors = load_file(file)
    first = next(iter(tensors))
    save_file({name: value for name, value in tensors.items() if name != first}, file)
    record = json.loads((folder / "patch.json").read_text())
    (folder / "patch.json").write_text(json.dumps(record | {"sha256": {}}))  # of before
    with pytest.raises(ForgetmeError, match="one matrix of the two"):
        Wardrobe(pipe).wear(read_patch(folder))
    torch.save({"x": 1}, file)  # a pickle under its name, and one that peft would take instead
    torch.save({"x": 1}, folder / "pytorch_lora_weights.bin")
    with pytest.raises(ForgetmeError, match="cannot be read"):
        Wardrobe(pipe).wear(read_patch(folder))
    assert not hasattr(pipe.unet, "peft_config")


def test_a_damaged_patch_says_what_to_do(fresh, run) -> None:
    patch = read_patch(run)
    whole = (patch.folder / LORA_FILE).read_bytes()
    (patch.folder / LORA_FILE).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ForgetmeError, match=r"cannot be read.*--resume"):
        Wardrobe(fresh()).wear(patch)
    (patch.folder / "patch.json").write_text('{"method": "lo')
    with pytest.raises(ForgetmeError, match="is damaged"):
        read_patch(run)


def test_a_patch_that_cannot_be_written_leaves_the_one_before(tmp_path) -> None:
    change = {"w": torch.ones(2)}
    record = {"method": "esd", "trains": "kv", "base": ""}
    write_delta(tmp_path / "patch", change, record)
    with pytest.raises(TypeError):
        write_delta(tmp_path / "patch", change, {**record, "odd": object()})
    assert read_patch(tmp_path).record == record
    assert os.listdir(tmp_path) == ["patch"]


# ------------------------------------------------------------------ a run that cannot go on


def test_a_loss_that_is_no_number_keeps_the_checkpoint_and_a_lower_rate_goes_on(
    fresh, items, tmp_path
) -> None:
    out, pipe = tmp_path / "run", fresh()
    settings = replace(CAT, steps=5, trains="kv")

    def spoil(done: int, *_: object) -> None:
        if done == 3:
            pipe.unet.conv_out.bias.data[0] = float("nan")

    with pytest.raises(ForgetmeError, match=r"nan at step 3.*2 steps saved.*--lr 0.0025"):
        train(pipe, items, settings, out, on_step=spoil)
    assert saved_steps(out) == 2
    with pytest.raises(ForgetmeError, match="other lr"):
        train(fresh(), items, replace(settings, lr=0.1), out)
    result = train(fresh(), items, replace(settings, lr=0.0025), out)
    assert result.finished
    assert [row["step"] for row in said_rows(out)] == [1, 2, 3, 4, 5]
    assert (result.patch.record["lr"], result.patch.record["lr_before"]) == (0.0025, [0.01])
    with pytest.raises(ForgetmeError, match="other lr"):  # it runs well: no reason to change it
        train(fresh(), items, replace(settings, lr=0.001), out)


def test_a_gradient_that_is_no_number_never_reaches_the_checkpoint(fresh, items, tmp_path) -> None:
    pipe = fresh()

    def spoil(done: int, *_: object) -> None:
        if done == 3:
            pipe.unet.conv_in.weight.register_hook(lambda grad: grad * float("inf"))

    with pytest.raises(ForgetmeError, match="the gradient is"):
        train(pipe, items, replace(CAT, trains="full", clip=0.0), tmp_path, on_step=spoil)
    tensors = load_file(tmp_path / CHECKPOINT)
    assert saved_steps(tmp_path) == 2
    assert all(value.isfinite().all() for value in tensors.values())


def test_too_little_memory_says_what_to_try(fresh, items, tmp_path) -> None:
    settings = replace(CAT, batch=10**13)  # more than any machine has
    words = r"not enough memory.*--gradient-checkpointing.*--batch 5000000000000 --accumulate 2"
    with pytest.raises(ForgetmeError, match=words):
        train(fresh(), items, settings, tmp_path)


def test_memory_saving_may_be_switched_on_when_a_run_goes_on(fresh, items, run) -> None:
    spare = replace(CAT, steps=5, gradient_checkpointing=True)
    assert train(fresh(), items, spare, run, base="small").step == 5


# ------------------------------------------------------------------ damaged files


def test_a_damaged_checkpoint_is_said_and_can_be_thrown_away(fresh, items, made, run) -> None:
    path = run / CHECKPOINT
    whole = path.read_bytes()
    for torn in (whole[: len(whole) // 2], b"", whole[:5]):
        path.write_bytes(torn)
        with pytest.raises(ForgetmeError, match=r"checkpoint.safetensors is damaged.*delete it"):
            train(fresh(), items, CAT, run, base="small")
    path.unlink()
    again = train(fresh(), items, CAT, run, base="small")
    assert (again.step, again.finished) == (4, True)
    assert same(weights(run), weights(made))
    assert [row["step"] for row in said_rows(run)] == [1, 2, 3, 4]


def test_a_checkpoint_of_another_model_is_refused(fresh, items, run) -> None:
    save_file({"weight/other": torch.zeros(1)}, run / CHECKPOINT, metadata={"step": "2"})
    with pytest.raises(ForgetmeError, match="another model or other settings"):
        train(fresh(), items, CAT, run, base="small")


def test_a_damaged_run_record_is_said(fresh, items, run) -> None:
    (run / "run.json").write_text('{"method": "lora", "conc')
    with pytest.raises(ForgetmeError, match=r"run.json is damaged"):
        train(fresh(), items, CAT, run, base="small")


def test_damaged_latents_are_made_again(fresh, items, made, run) -> None:
    (run / CHECKPOINT).unlink()
    for path in (run / "latents").iterdir():
        path.write_bytes(path.read_bytes()[:100])
    train(fresh(), items, CAT, run, base="small")
    assert same(weights(run), weights(made))


# ------------------------------------------------------------------ stopped at any moment

RUN = """
import sys
from dataclasses import replace
from pathlib import Path
sys.path.insert(0, sys.argv[4])
from test_train_bad_input import CAT, opened
from forgetme.train import items_of_folder, train
base, data, out = map(Path, sys.argv[1:4])
train(opened(base), items_of_folder(data), replace(CAT, steps=12, save_every=1), out)
"""


def test_a_run_that_is_killed_at_any_moment_reaches_the_same_weights(
    base, drawn, fresh, items, tmp_path
) -> None:
    out, moments = tmp_path / "killed", random.Random(5)
    command = [sys.executable, "-c", textwrap.dedent(RUN), base, drawn, out, TESTS]
    command = [str(one) for one in command]
    for rows in (0, 4, 9):  # the log has so many when it is killed, or some more
        child = subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.PIPE)
        until = time.monotonic() + 600
        while not (out / "run.json").is_file() or len(said_or_torn(out)) < rows:
            assert child.poll() is None, child.stderr.read().decode()
            assert time.monotonic() < until
            time.sleep(0.002)
        time.sleep(moments.random() / 20)
        child.send_signal(signal.SIGKILL)
        child.communicate()
    settings = replace(CAT, steps=12, save_every=1)
    train(fresh(), items, settings, out)
    train(fresh(), items, settings, tmp_path / "whole")
    assert same(weights(out), weights(tmp_path / "whole"))
    assert [row["step"] for row in said_rows(out)] == list(range(1, 13))
    assert not [path for path in out.rglob(".*") if path.suffix in (".tmp", ".new", ".old")]


def said_or_torn(folder: Path) -> list[str]:
    path = folder / "log.jsonl"
    return path.read_text().splitlines() if path.is_file() else []


FULL_DISK = """
import sys
from dataclasses import replace
from pathlib import Path
sys.path.insert(0, sys.argv[4])
from test_train_bad_input import CAT, opened, saved_steps
from forgetme.errors import DiskFullError
from forgetme.train import items_of_folder, train
base, data, disk = map(Path, sys.argv[1:4])
items, out = items_of_folder(data), disk / "run"

def fill(done, *_):
    if done == 3:
        with open(disk / "ballast", "wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                pass

settings = replace(CAT, save_every=1)
try:
    train(opened(base), items, settings, out, on_step=fill)
except DiskFullError as error:
    assert "free some disk space and go on with --resume" in str(error), error
else:
    raise SystemExit("the disk was not full")
assert saved_steps(out) == 2, saved_steps(out)
assert not list(out.rglob(".*")), list(out.rglob(".*"))
(disk / "ballast").unlink()
assert train(opened(base), items, settings, out).finished
print("survived")
"""


def test_a_full_disk_leaves_the_last_checkpoint_whole(base, drawn, tmp_path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    shell = mount_command(disk)
    if shell is None:
        pytest.skip("this system lets us mount no small disk (unshare --mount --map-root-user)")
    command = [*shell, sys.executable, "-c", FULL_DISK, base, drawn, disk, TESTS]
    done = subprocess.run(
        [str(one) for one in command], capture_output=True, text=True, env=ENVIRONMENT
    )
    assert done.stdout == "survived\n", done.stderr


def turn(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def test_a_turned_byte_in_a_patch_or_a_checkpoint_is_noticed(tmp_path, caplog) -> None:
    from forgetme.train import checkpoint
    from forgetme.train.patch import shapes_of

    record = {"method": "esd", "trains": "kv", "base": "", "steps": 40}
    write_delta(tmp_path / "patch", {"w": torch.ones(8)}, record)
    assert shapes_of(read_patch(tmp_path)) == {"w": (8,)}
    turn(tmp_path / "patch" / "patch.safetensors", -2)
    with pytest.raises(ForgetmeError, match="cannot be read .it is not what was written.*--resume"):
        shapes_of(read_patch(tmp_path))
    path = tmp_path / "patch" / "patch.json"
    path.write_text(path.read_text().replace('"steps": 40', '"steps": 41'))
    read_patch(tmp_path)
    assert "was changed since the patch was written" in caplog.text

    weight = {"w": torch.nn.Parameter(torch.ones(8))}
    optimizer = torch.optim.Adam(weight.values())
    weight["w"].sum().backward()
    optimizer.step()
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    checkpoint.save(tmp_path, 3, weight, optimizer, scaler)
    assert checkpoint.load(tmp_path, weight, optimizer, scaler) == 3
    turn(tmp_path / checkpoint.NAME, -2)
    with pytest.raises(ForgetmeError, match="not what was written.*from a backup"):
        checkpoint.load(tmp_path, weight, optimizer, scaler)
