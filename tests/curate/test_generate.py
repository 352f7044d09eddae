"""Pictures drawn from prompts: grammars, files, a language model, and what is stored."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from openai_server import KEY, OpenAIServer, Reply, error
from typer.testing import CliRunner

from forgetme import cli
from forgetme.curate.generate import DrawSettings, generate
from forgetme.curate.prompts import WrittenPrompts, drawn_grammar, grammar, prompts_of_file
from forgetme.errors import ForgetmeError, VerifierError
from forgetme.scenes import CONCEPTS
from forgetme.stages.verify import AskSettings, OpenAIVerifier
from forgetme.store import Store

ASSETS = Path(__file__).parents[2] / "assets" / "tiny"
QUICK = DrawSettings(seed=3, steps=2, batch=2)


# ------------------------------------------------------------------ prompts


@pytest.mark.parametrize("grammar_of", [grammar, drawn_grammar])
def test_ten_thousand_prompts_are_distinct_and_name_the_concept(grammar_of) -> None:
    for concept in ("cat", "airplane"):
        prompts = list(islice(grammar_of(concept).prompts(0), 10_000))
        assert len(set(prompts)) == 10_000
        assert all(concept in prompt for prompt in prompts)
        assert not any("  " in prompt or prompt != prompt.strip() for prompt in prompts)


def test_a_seed_gives_the_same_prompts_however_many_are_wanted() -> None:
    few, many = (list(islice(grammar("cat").prompts(4), n)) for n in (10, 100))
    assert many[:10] == few
    assert list(islice(grammar("cat").prompts(5), 10)) != few


def test_a_used_up_grammar_begins_again() -> None:
    small = drawn_grammar("tree")
    small = type(small)((small.parts[0], small.parts[3]))
    prompts = list(islice(small.prompts(0), 2 * small.size))
    assert len(set(prompts[: small.size])) == small.size == 96
    assert set(prompts[small.size :]) == set(prompts[: small.size])


def test_articles_fit_and_brackets_go() -> None:
    prompts = " ".join(islice(grammar("<orange_owl>").prompts(0), 300))
    assert " an orange owl" in prompts
    assert " a orange owl" not in prompts
    assert " an old orange owl" in prompts
    assert "<" not in prompts


@pytest.mark.bundled
@pytest.mark.parametrize("concept", CONCEPTS)
def test_the_bundled_model_knows_every_word_of_its_prompts(concept: str) -> None:
    from transformers import CLIPTokenizer

    tokenizer = CLIPTokenizer.from_pretrained(ASSETS / "diffusion" / "tokenizer")
    words = {w for part in drawn_grammar(concept).parts for phrase in part for w in phrase.split()}
    assert not [word for word in words if len(tokenizer.tokenize(word)) != 1]


def test_the_drawn_world_says_what_it_can_draw() -> None:
    with pytest.raises(ForgetmeError, match=r"cannot draw 'zebra'.*cat, dog.*--preset full"):
        drawn_grammar("zebra")


def test_prompts_of_a_file_are_its_lines(tmp_path: Path) -> None:
    path = tmp_path / "prompts.txt"
    path.write_text("# mine\n\na cat  on a chair\n a cat asleep \n")
    assert prompts_of_file(path) == ["a cat on a chair", "a cat asleep"]
    path.write_text("\n# none\n")
    with pytest.raises(ForgetmeError, match="holds no prompt"):
        prompts_of_file(path)
    path.write_text("a cat " * 100)
    with pytest.raises(ForgetmeError, match="has 599 characters"):
        prompts_of_file(path)
    path.write_bytes(b"a cat \xff")
    with pytest.raises(ForgetmeError, match="not UTF-8"):
        prompts_of_file(path)


# ------------------------------------------------------------------ a language model


def answer(*prompts: str) -> Reply:
    return Reply(json.dumps({"prompts": list(prompts)}))


def writer(server: OpenAIServer, path: Path, key: str = KEY, **limits: int) -> WrittenPrompts:
    settings = AskSettings(backoff_s=0.01, timeout_s=5.0, **limits)
    client = OpenAIVerifier("gpt-4o", api_key=key, base_url=server.url, settings=settings)
    return WrittenPrompts(path, "cat", client)


def test_written_prompts_are_asked_for_once_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "kept" / "cat.txt"
    with OpenAIServer() as server:
        server.queue.extend([answer("a cat", "a cat on a mat", "a dog"), answer("a cat", "A Cat!")])
        assert writer(server, path).want(3) == ["a cat", "a cat on a mat", "A Cat!"]
        assert path.read_text() == "a cat\na cat on a mat\nA Cat!\n"
        assert "Write 3 prompts for the concept 'cat'" in server.asked[0].question
        assert "Write 1 prompts" in server.asked[1].question
        assert writer(server, path).want(2) == ["a cat", "a cat on a mat"]
        assert len(server.asked) == 2


def test_broken_answers_are_asked_again_and_failures_keep_what_was_paid(tmp_path: Path) -> None:
    path = tmp_path / "cat.txt"
    with OpenAIServer() as server:
        server.queue.extend([error(503), answer("a dog"), answer("a cat")])
        assert writer(server, path).want(1) == ["a cat"]
        server.queue.append(answer("a cat"))
        with pytest.raises(VerifierError, match="nothing but what it wrote before; 1 prompts"):
            writer(server, path).want(2)
        server.queue.append(answer("a grey cat"))
        with pytest.raises(VerifierError, match="spend cap"):
            writer(server, path, max_calls=1).want(3)
        with pytest.raises(VerifierError, match="key was refused"):
            writer(server, path, key="sk-wrong").want(3)
    assert prompts_of_file(path) == ["a cat", "a grey cat"]


# ------------------------------------------------------------------ pictures


def test_pictures_come_as_new_samples_with_their_prompts(store: Store, models) -> None:
    prompts = ["a cat", "a grey cat", "a cat at night"]
    report = generate(store, "cat", prompts, 3, models.diffusion, settings=QUICK)
    assert (report.count, report.drawn, report.there_already, report.alike) == (3, 3, 0, 0)
    rows = store.samples()
    assert [row.caption for row in rows] == prompts
    assert {(row.state, row.concept) for row in rows} == {("new", "cat")}
    assert [event.kind for event in store.events()] == ["imported"] * 3
    assert ["seed 3000009, 2 steps" in row.notes[0] for row in rows] == [True, False, False]
    assert all("prompt by grammar" in row.notes[0] for row in rows)


def test_a_picture_is_that_of_its_seed_and_prompt(store: Store, models) -> None:
    import torch

    generate(store, "cat", ["a cat", "a dog"], 2, models.diffusion, settings=QUICK)
    row = store.samples()[1]
    generator = torch.Generator().manual_seed(3 * 1_000_003 + 1)
    alone = models.diffusion.pipe(
        "a dog", num_inference_steps=2, guidance_scale=7.5, generator=generator, output_type="np"
    ).images[0]
    apart = store.get_image(row.image_sha) / 255 - alone
    assert np.abs(apart).max() < 0.01


def test_a_second_call_draws_only_what_is_missing(store: Store, models) -> None:
    prompts = list(islice(grammar("cat").prompts(0), 5))
    generate(store, "cat", prompts, 3, models.diffusion, settings=QUICK)
    before = store.samples()
    again = generate(store, "cat", prompts, 3, models.diffusion, settings=QUICK)
    assert (again.drawn, again.there_already) == (0, 3)
    more = generate(store, "cat", prompts, 5, models.diffusion, settings=QUICK)
    assert (more.drawn, more.there_already) == (2, 3)
    assert store.samples()[:3] == before
    other = DrawSettings(seed=4, steps=2)
    assert generate(store, "cat", prompts, 2, models.diffusion, settings=other).drawn == 2


def test_stopped_at_any_picture_it_goes_on_to_the_same_set(store, models, tmp_path) -> None:
    prompts = list(islice(grammar("cat").prompts(0), 5))

    def stop(progress) -> None:
        if progress.done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate(store, "cat", prompts, 5, models.diffusion, settings=QUICK, on_progress=stop)
    assert len(store.samples()) == 3
    seen = []
    generate(store, "cat", prompts, 5, models.diffusion, settings=QUICK, on_progress=seen.append)
    assert [(one.done, one.total) for one in seen] == [(4, 5), (5, 5)]
    assert seen[-1].eta_seconds == 0
    with Store(tmp_path / "whole") as whole:
        generate(whole, "cat", prompts, 5, models.diffusion, settings=QUICK)
        assert {r.source for r in whole.samples()} == {r.source for r in store.samples()}
    assert store.check() == []


# ------------------------------------------------------------------ the command


def run(*arguments: object):
    return CliRunner().invoke(cli.app, ["generate", *(str(one) for one in arguments)])


@pytest.fixture
def command(small_assets: Path, tmp_path: Path) -> tuple:
    base = ("--base", small_assets / "diffusion", "--steps", 1)
    return ("--concept", "cat", "--store", tmp_path / "store", *base)


def test_generate_says_what_it_drew_and_what_was_there(command: tuple, tmp_path: Path) -> None:
    first = run(*command, "--count", 2, "--json")
    assert first.exit_code == 0, first.output
    assert json.loads(first.stdout)["drawn"] == 2
    second = run(*command, "--count", 3)
    assert second.stdout.strip() == "1 pictures drawn, 2 were there already"
    with Store(tmp_path / "store") as store:
        captions = [row.caption for row in store.samples()]
    assert captions == list(islice(grammar("cat").prompts(0), 3))


def test_generate_repeats_a_short_file_with_other_noise(command: tuple, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("a cat\na grey cat\n")
    done = run(*command, "--count", 3, "--prompts", tmp_path / "mine.txt")
    assert done.exit_code == 0, done.output
    with Store(tmp_path / "store") as store:
        rows = store.samples()
    assert [row.caption for row in rows] == ["a cat", "a grey cat", "a cat"]
    assert len({row.image_sha for row in rows}) == 3
    assert all("prompt by mine.txt" in row.notes[0] for row in rows)


def test_generate_takes_prompts_of_a_language_model(command, tmp_path, monkeypatch) -> None:
    with OpenAIServer(lambda _: answer("a cat in a hat", "two cats")) as server:
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        for _ in range(2):
            done = run(*command, "--count", 2, "--writer", "gpt-4o")
            assert done.exit_code == 0, done.output
        [asked] = server.asked
        assert asked.image is None
    with Store(tmp_path / "store") as store:
        assert [row.caption for row in store.samples()] == ["a cat in a hat", "two cats"]
    assert len(list((tmp_path / "store" / "prompts").glob("cat-0-gpt-4o-*.txt"))) == 1


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--writer", "gpt-4o"), "needs a key"),
        (("--writer", "gpt-4o", "--prompts", "x"), "name one of them"),
        (("--prompts", "/nowhere/x.txt"), "/nowhere/x.txt"),
        (("--base", "/nowhere/model"), "no model at"),
    ],
)
def test_generate_says_what_is_wrong_in_one_line(command, more: tuple, words: str) -> None:
    done = run(*command, "--count", 1, *more)
    assert done.exit_code == 1
    assert words in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
