"""What the bundled ranker's words become: a table of embeddings, and a text tower that gives it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import open_clip
import torch
from torch.nn import functional as F  # noqa: N812 (torch's own name for it)

from forgetme.stages.vocabulary import Vocabulary
from forgetme.tiny.loop import TrainSettings, fit

DIM = 256  # of the embeddings
WIDTH = 80  # of the text tower: the largest that keeps the file under 16 MiB
CONTEXT = 14  # tokens of a prompt
TEMPLATES = (
    "a photo of a {}",
    "a {}",
    "a picture of a {}",
    "a drawing of a {}",
    "a photo of the {}",
    "{}",
)


class Head(torch.nn.Module):
    """The projection of the features, and one embedding a word, of the text tower's rank."""

    def __init__(self, words: int, inputs: int) -> None:
        """Args: number of words; channels of the features."""
        super().__init__()
        self.proj = torch.nn.Linear(inputs, DIM)
        self.codes = torch.nn.Parameter(torch.randn(words, WIDTH))
        self.norm = torch.nn.LayerNorm(WIDTH)
        self.mix = torch.nn.Parameter(torch.randn(WIDTH, DIM) * WIDTH**-0.5)
        self.scale = torch.nn.Parameter(torch.tensor(3.0))

    def table(self) -> torch.Tensor:
        """Unit embeddings of all words, (W, DIM)."""
        return F.normalize(self.norm(self.codes) @ self.mix, dim=-1)

    def forward(self, values: torch.Tensor, most: float = 4.2) -> torch.Tensor:
        """Logits (N, W) of features (N, 1280)."""
        seen = F.normalize(self.proj(values), dim=-1)
        return self.scale.clamp(max=most).exp() * seen @ self.table().T


class Bag(torch.nn.Module):
    """A text tower that is a bag of tokens: the sum of a name's normalised token embeddings.

    It learns thousands of names in seconds where a transformer takes an hour, and is written into
    one exactly (`to_tower`): attention that looks everywhere alike, and no other layer. Tokens of
    the templates weigh nothing, so that every template says the same.
    """

    def __init__(self, known: Vocabulary, head: Head) -> None:
        """Args: the words; the trained head, whose table the names must reach."""
        super().__init__()
        tokenizer = open_clip.SimpleTokenizer(context_length=CONTEXT)
        index = {word: i for i, word in enumerate(known.words)}
        tokens = tokenizer(list(known.names))
        frame = tokenizer([template.format("") for template in TEMPLATES]).unique()
        self.ids, places = tokens.unique(return_inverse=True)
        self.silent = torch.isin(self.ids, frame)
        self.places, self.heard = places, ~torch.isin(tokens, frame)
        self.codes = torch.nn.Parameter(0.5 * torch.randn(len(self.ids), WIDTH))
        self.norm, self.mix = (part.detach() for part in (head.norm.weight, head.mix))
        self.shift = head.norm.bias.detach()
        self.goal = head.table().detach()[[index[word] for word in known.names.values()]]
        rivals = set(known.rivals)
        weights = [  # every score needs the rivals; other names are looked up as their word
            0.2 if name != word.casefold() else 3.0 if word in rivals else 1.0
            for name, word in known.names.items()
        ]
        self.weights = torch.tensor(weights) * self.heard.any(1)

    def forward(self) -> torch.Tensor:
        """How alike each name and its word are: (names,) cosines."""
        each = F.layer_norm(self.codes, (WIDTH,))[self.places] * self.heard[..., None]
        names = F.layer_norm(each.sum(1) / CONTEXT, (WIDTH,), self.norm, self.shift)
        return F.cosine_similarity(names @ self.mix, self.goal, dim=1)

    @torch.no_grad()
    def to_tower(self, model: open_clip.CLIP) -> None:
        """Writes the bag into the text tower of a model."""
        model.token_embedding.weight.zero_()
        heard = ~self.silent
        model.token_embedding.weight[self.ids[heard]] = self.codes[heard]
        model.positional_embedding.zero_()
        for block in model.transformer.resblocks:
            for part in (block.attn.out_proj, block.mlp.c_proj):
                part.weight.zero_()
                part.bias.zero_()
        first = model.transformer.resblocks[0].attn  # queries and keys zero: looks at all alike
        first.in_proj_weight.zero_()
        first.in_proj_bias.zero_()
        first.in_proj_weight[2 * WIDTH :] = torch.eye(WIDTH)
        first.out_proj.weight.copy_(torch.eye(WIDTH))
        model.ln_final.weight.copy_(self.norm)
        model.ln_final.bias.copy_(self.shift)
        model.text_projection.copy_(self.mix)


def train_text(
    model: open_clip.CLIP,
    known: Vocabulary,
    head: Head,
    settings: TrainSettings,
    work: Path,
    minutes: float | None,
) -> None:
    """Teaches the text tower the table of the head: every name of a word."""
    bag = Bag(known, head)

    def loss_fn(step: int, rng: np.random.Generator, done: float) -> tuple:
        del step, rng, done
        alike = bag()
        loss = ((1 - alike) * bag.weights).sum() / bag.weights.sum()
        return loss, {"alike": round(alike.mean().item(), 4)}

    fit(bag, loss_fn, settings, work / "ranker_text", minutes=minutes).to_tower(model)
