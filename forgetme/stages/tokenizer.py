"""CLIP's tokenizer, whole or for a small vocabulary, built offline from open_clip's byte pairs."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import CLIPTokenizer


_N_CLIP_MERGES = 49152 - 256 - 2  # the rest of the published list was never used by CLIP


def build_tokenizer(words: Sequence[str] | None = None, context_length: int = 77) -> CLIPTokenizer:
    """Builds CLIP's tokenizer offline from the byte-pair list that open_clip ships.

    Args:
        words: None for CLIP's whole vocabulary of 49,408 tokens with its published ids. Otherwise
            a small vocabulary is made: the 512 byte tokens, the merges that these words (or
            phrases, whose words are taken one by one) need, and the two special tokens last. Each
            word is one token; any other text decomposes into shorter ones, never into "unknown".
        context_length: Tokens in a prompt, start and end included.

    Returns:
        A tokenizer that `save_pretrained` and StableDiffusionPipeline accept. The text encoder
        built for it needs `vocab_size=len(tokenizer)`, `max_position_embeddings=context_length`
        and the tokenizer's `bos_token_id`, `eos_token_id` and `pad_token_id`.

    **Source**: Radford et al. 2021, tokenizer of https://github.com/openai/CLIP (MIT).

    Example:
        >>> build_tokenizer()("a photo of a cat").input_ids
        [49406, 320, 1125, 539, 320, 2368, 49407]
        >>> build_tokenizer(["mushroom"]).tokenize("mushroom")
        ['mushroom</w>']
    """
    merges = _clip_merges()
    if words is not None:
        merges = _merges_for(_split(words), merges)
    return _clip_tokenizer(merges, context_length)


def _clip_tokenizer(merges: Sequence[tuple[str, str]], context_length: int) -> CLIPTokenizer:
    from transformers import CLIPTokenizer

    alphabet = _byte_alphabet()
    tokens = [*alphabet, *(c + "</w>" for c in alphabet), *(a + b for a, b in merges)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    # Two merges may spell one token in a small vocabulary; ids must still be without gaps.
    vocab = {token: i for i, token in enumerate(dict.fromkeys(tokens))}
    return CLIPTokenizer(vocab=vocab, merges=list(merges), model_max_length=context_length)


def _clip_merges() -> list[tuple[str, str]]:
    spec = find_spec("open_clip")  # found without importing it: the list is all that is needed
    path = Path(spec.origin).with_name("bpe_simple_vocab_16e6.txt.gz")
    lines = gzip.decompress(path.read_bytes()).decode("utf-8").split("\n")
    return [tuple(line.split()) for line in lines[1 : _N_CLIP_MERGES + 1]]


def _byte_alphabet() -> list[str]:
    """Lists the printable stand-ins of the 256 bytes, in the order of CLIP's vocabulary."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    return [chr(b) for b in printable] + [chr(256 + n) for n in range(256 - len(printable))]


def _split(words: Sequence[str]) -> list[str]:
    """Cuts texts into the pieces that CLIP's tokenizer never merges across, without repeats."""
    backend = _clip_tokenizer([], 77).backend_tokenizer
    pieces = []
    for text in words:
        text = backend.normalizer.normalize_str(text)
        pieces += [piece for piece, _ in backend.pre_tokenizer.pre_tokenize_str(text)]
    return list(dict.fromkeys(pieces))


def _merges_for(words: Sequence[str], merges: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Chooses the merges that make each word one token; CLIP's own first, in CLIP's order.

    A word that CLIP splits gets further merges at the end of the list. They are of lower rank than
    everything before, so they cannot take a pair away from an earlier word.
    """
    ranks = {pair: rank for rank, pair in enumerate(merges)}
    split = [_apply_merges(word, ranks) for word in words]
    used = {pair for _, pairs in split for pair in pairs}
    chosen = sorted(used, key=ranks.__getitem__)
    extra: dict[tuple[str, str], int] = {}
    for symbols, _ in split:
        while True:
            symbols, _ = _apply_merges(symbols, extra)
            if len(symbols) == 1:
                break
            extra[symbols[0], symbols[1]] = len(extra)
    return [*chosen, *extra]


def _apply_merges(
    word: str | Sequence[str], ranks: dict[tuple[str, str], int]
) -> tuple[list[str], list[tuple[str, str]]]:
    """Runs byte-pair encoding on one word.

    Returns:
        The symbols that are left, and the pairs that were merged, in order.
    """
    symbols = [*word[:-1], word[-1] + "</w>"] if isinstance(word, str) else list(word)
    used = []
    while pairs := [p for p in zip(symbols, symbols[1:], strict=False) if p in ranks]:
        first, second = best = min(pairs, key=ranks.__getitem__)
        used.append(best)
        merged, i = [], 0
        while i < len(symbols):
            if tuple(symbols[i : i + 2]) == best:
                merged.append(first + second)
                i += 2
            else:
                merged.append(symbols[i])
                i += 1
        symbols = merged
    return symbols, used
