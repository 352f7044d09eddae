"""Embeddings on disk: the same masks without the encoder, whatever happens to the files."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from forgetme.stages.embeddings import LOOK_EVERY, EmbeddingFolder
from forgetme.stages.models import load_models
from forgetme.stages.segment import Segmenter

SHA = "ab" * 32
POINT = (np.array([[40.0, 30.0]]), np.array([1]))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "embeddings"


def embedding(seed: int = 0) -> torch.Tensor:
    return torch.randn(1, 16, 4, 4, generator=torch.Generator().manual_seed(seed))


def segmenter(assets: Path, folder: Path | None) -> Segmenter:
    return load_models("tiny", assets=assets, device="cpu", embeddings=folder).segmenter


def encodings(one: Segmenter) -> list[int]:
    """Returns a list that grows by each run of the image encoder."""
    runs: list[int] = []
    one.sam.image_encoder.register_forward_hook(lambda *_: runs.append(1))
    return runs


def test_embedding_comes_back_bit_for_bit(folder):
    EmbeddingFolder(folder, "sam@1").put(SHA, embedding())
    kept = EmbeddingFolder(folder, "sam@1").get(SHA)
    assert torch.equal(kept, embedding())
    assert kept.dtype == torch.float32


def test_embedding_of_other_weights_or_another_image_is_not_taken(folder):
    EmbeddingFolder(folder, "sam@1").put(SHA, embedding())
    assert EmbeddingFolder(folder, "sam@2").get(SHA) is None
    assert EmbeddingFolder(folder, "sam@1").get("cd" * 32) is None


@pytest.mark.parametrize("data", [b"", b"\0" * 200, b"torn"])
def test_damaged_file_counts_as_absent_and_is_replaced(folder, data):
    disk = EmbeddingFolder(folder, "sam@1")
    disk.put(SHA, embedding(1))
    (file,) = folder.rglob("*.safetensors")
    file.write_bytes(data)
    assert disk.get(SHA) is None
    disk.put(SHA, embedding(2))
    assert torch.equal(disk.get(SHA), embedding(2))


def test_folder_that_cannot_be_written_costs_only_time(tmp_path, caplog):
    (tmp_path / "file").write_text("in the way")
    with caplog.at_level(logging.WARNING):
        EmbeddingFolder(tmp_path / "file", "sam@1").put(SHA, embedding())
    assert "clicks may wait longer" in caplog.text


def test_what_was_not_used_for_longest_goes_first(folder):
    size = len(embedding().numpy().tobytes())
    disk = EmbeddingFolder(folder, "sam@1", limit_bytes=3 * (size + 200))
    names = [f"{at:02x}" * 32 for at in range(5)]
    for at, name in enumerate(names):
        disk.put(name, embedding(at))
        os.utime(disk._path(name), (at, at))
    disk.get(names[0])  # used now
    disk._written = LOOK_EVERY
    disk.put("ff" * 32, embedding(9))
    left = [name for name in [*names, "ff" * 32] if disk.get(name) is not None]
    assert left == [names[0], names[4], "ff" * 32]


def test_another_process_clicks_without_the_encoder_and_gets_the_same(
    small_assets, folder, picture
):
    first = segmenter(small_assets, folder)
    runs = encodings(first)
    wanted = first.click(picture, *POINT)
    assert (len(runs), len(wanted) > 0) == (1, True)
    second = segmenter(small_assets, folder)
    runs = encodings(second)
    found = second.click(picture, *POINT)
    assert not runs
    assert [one.predicted_iou for one in found] == [one.predicted_iou for one in wanted]
    assert all(np.array_equal(a.mask, b.mask) for a, b in zip(found, wanted, strict=True))
    proposed = second(picture)
    alone = segmenter(small_assets, None)(picture)
    assert all(np.array_equal(a.mask, b.mask) for a, b in zip(proposed, alone, strict=True))


def test_embedding_is_computed_ahead_once(small_assets, folder, picture):
    ahead = segmenter(small_assets, folder)
    runs = encodings(ahead)
    ahead.embed(picture)
    ahead.embed(picture)
    assert len(runs) == 1
    later = segmenter(small_assets, folder)
    runs = encodings(later)
    later.embed(picture)
    assert not runs


@pytest.mark.parametrize("at", [-1, -70, -300])
def test_a_turned_byte_is_noticed_said_and_computed_again(folder, caplog, at):
    disk = EmbeddingFolder(folder, "sam@1")
    disk.put(SHA, embedding())
    (file,) = folder.rglob("*.safetensors")
    data = bytearray(file.read_bytes())
    data[at] ^= 1
    file.write_bytes(data)
    assert disk.get(SHA) is None
    assert "it is computed again" in caplog.text


def test_an_answer_or_a_score_that_was_not_written_so_is_not_taken(tmp_path, caplog):
    import json
    import sqlite3
    from contextlib import closing

    from forgetme.compare.cache import Cache
    from forgetme.record.sample import Verdict
    from forgetme.stages.answers import AnswerCache

    old = tmp_path / "answers.db"
    with closing(sqlite3.connect(old)) as db, db:
        db.execute("create table verdict (asked text primary key, yes integer, "
                   "confidence real, reason text)")  # fmt: skip
        db.execute("insert into verdict values ('old', 1, 0.5, 'a cat')")
    cache = AnswerCache(old)
    said = Verdict(True, 0.9, "a whole cat", "gpt")
    cache.put("new", said)
    assert cache.get("new", "gpt") == said
    assert cache.get("old", "gpt").reason == "a cat"  # of before answers had sums
    with closing(sqlite3.connect(old)) as db, db:
        db.execute("update verdict set yes = 0 where asked = 'new'")
    assert cache.get("new", "gpt") is None
    assert "asked again" in caplog.text
    old.write_bytes(b"no database" * 500)
    assert cache.get("new", "gpt") is None

    scores = Cache(tmp_path / "cache")
    scores.keep("ab" * 32, {"d": 0.5})
    assert scores.record("ab" * 32) == {"d": 0.5}
    (file,) = (tmp_path / "cache").rglob("*.json")
    file.write_text(file.read_text().replace("0.5", "0.7"))
    assert scores.record("ab" * 32) is None
    assert "computed again" in caplog.text
    file.write_text(json.dumps({"d": 0.5}))
    assert scores.record("ab" * 32) == {"d": 0.5}  # of before records had sums
