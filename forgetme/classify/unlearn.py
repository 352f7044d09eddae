"""Trains a classifier, and makes it forget: random labels (RL), SalUn, LoReUn's weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn
from torch.nn.functional import cross_entropy, pad

from forgetme.classify.pictures import Pictures, Split

PAD = 4  # pixels that the random crop may shift
WEIGHT_DECAY = 5e-4

Reweigh = Literal["", "f", "r", "both"]
Told = Callable[[str, int, int], None]  # what, epoch, epochs


@dataclass(frozen=True)
class FitSettings:
    """How the original and the retrained model are trained; the defaults are SalUn's."""

    epochs: int = 182
    lr: float = 0.1  # a tenth of it after a half, a hundredth after three quarters
    batch: int = 256


@dataclass(frozen=True)
class UnlearnSettings:
    """How a trained model forgets; LoReUn's settings are in `bench.published`."""

    epochs: int = 10  # one has as many pictures as both sets together
    lr: float = 0.01
    batch: int = 256  # of the forget set, and as many of the retain set
    alpha: float = 1.0  # weight of the retain set
    salient: float | None = None  # SalUn: share of weights that may change
    reweigh: Reweigh = ""  # LoReUn: which set's samples are weighed
    eta_f: float = 0.1
    eta_r: float = 0.25
    passes: bool = False  # each epoch one pass over either set, as SalUn's code has it


def fit(net: nn.Module, pictures: Pictures, settings: FitSettings, seed: int, told: Told) -> None:
    """Trains a model in place by SGD with momentum 0.9 and weight decay 5e-4."""
    dice = torch.Generator().manual_seed(seed)
    optimizer = _sgd(net, settings.lr)
    steps = [settings.epochs // 2, settings.epochs * 3 // 4]
    slower = torch.optim.lr_scheduler.MultiStepLR(optimizer, steps, 0.1)
    for epoch in range(settings.epochs):
        told("trained", epoch, settings.epochs)
        net.train()
        for images, labels in _once(pictures, settings.batch, dice, _device(net)):
            _step(optimizer, cross_entropy(net(images), labels))
        slower.step()


def unlearn(net: nn.Module, split: Split, settings: UnlearnSettings, seed: int, told: Told) -> None:
    """Makes a trained model forget, in place.

    Raises:
        ValueError: samples are to be weighed in batches of one, or set by set.

    **Source**: LoReUn, equation 1 (RL), equations 4-6 and algorithm 1 (the weights); SalUn for
    `salient` and `passes`. In the joint step both halves go through the net as one batch, so
    that the batch norm sees what the finished model will see.
    """
    if settings.reweigh and (settings.batch < 2 or settings.passes):
        raise ValueError(
            "LoReUn weighs the samples of a pair of batches against each other: it needs a batch "
            "of at least 2, and no separate passes"
        )
    dice = torch.Generator().manual_seed(seed)
    masks = None if settings.salient is None else salient_weights(net, split, settings.salient)
    start = {name: weight.detach().clone() for name, weight in net.named_parameters()}
    references = [
        mean_loss(net, part) if settings.reweigh in (which, "both") else None
        for which, part in (("f", split.forget), ("r", split.retain))
    ]
    optimizer = _sgd(net, settings.lr)
    for epoch in range(settings.epochs):
        told("unlearned", epoch, settings.epochs)
        net.train()
        losses = _passes if settings.passes else _pairs
        for loss in losses(net, split, settings, references, dice):
            _step(optimizer, loss, lambda: _hold(net, optimizer, masks, start))


def _pairs(
    net: nn.Module,
    split: Split,
    settings: UnlearnSettings,
    references: list[float | None],
    dice: torch.Generator,
) -> Iterator[torch.Tensor]:
    """Gives the losses of one epoch of paired batches."""
    n, device, classes = settings.batch, _device(net), len(split.forget.classes)
    forget, retain = (_forever(part, n, dice, device) for part in (split.forget, split.retain))
    for _ in range(math.ceil((len(split.forget) + len(split.retain)) / (2 * n))):
        (images_f, labels_f), (images_r, labels_r) = next(forget), next(retain)
        logits = net(torch.cat([images_f, images_r]))
        ours, kept = logits[: len(labels_f)], logits[len(labels_f) :]
        wrong = wrong_labels(labels_f, classes, dice)
        clean_f = cross_entropy(ours, labels_f, reduction="none").detach()
        loss_f = cross_entropy(ours, wrong, reduction="none")
        loss_r = cross_entropy(kept, labels_r, reduction="none")
        w_f = excess_weights(clean_f, references[0], -settings.eta_f)
        w_r = excess_weights(loss_r.detach(), references[1], settings.eta_r)
        yield (w_f * loss_f).sum() + settings.alpha * (w_r * loss_r).sum()


def _passes(
    net: nn.Module,
    split: Split,
    settings: UnlearnSettings,
    references: list[float | None],
    dice: torch.Generator,
) -> Iterator[torch.Tensor]:
    """Gives the losses of one pass over the forget set, under any labels, and one over the rest."""
    device, classes = _device(net), len(split.forget.classes)
    for images, labels in _once(split.forget, settings.batch, dice, device):
        labels = torch.randint(classes, labels.shape, generator=dice).to(device)
        yield cross_entropy(net(images), labels)
    for images, labels in _once(split.retain, settings.batch, dice, device):
        yield settings.alpha * cross_entropy(net(images), labels)


def excess_weights(losses: torch.Tensor, reference: float | None, eta: float) -> torch.Tensor:
    """Weighs the samples of a batch by how far each one's loss is from its reference.

    Args:
        losses: (N,) of the true labels, without gradient.
        reference: mean loss of the set under the original model; None = all weigh the same.
        eta: below 0 for the forget set (what is still known weighs more), above for the rest.

    Returns:
        (N,), summing to 1.

    **Source**: LoReUn, equations 4 and 5, and line 7 of algorithm 1.
    """
    if reference is None:
        return torch.full_like(losses, 1 / len(losses))
    return torch.softmax(eta * (losses - reference), 0)


def wrong_labels(labels: torch.Tensor, classes: int, dice: torch.Generator) -> torch.Tensor:
    """Draws for each label another one, all others being as likely."""
    shift = torch.randint(1, classes, labels.shape, generator=dice).to(labels.device)
    return (labels + shift) % classes


def salient_weights(net: nn.Module, split: Split, share: float) -> dict[str, torch.Tensor]:
    """Chooses the weights on which forgetting depends most.

    Returns:
        By name, True for the `share` of all weights whose gradient of the forget loss, summed
        with its sign over the forget set, is largest.

    **Source**: SalUn, equation 4 and generate_mask.py (one pass, model.eval()).
    """
    net.eval()
    net.zero_grad()
    device = _device(net)
    for images, labels in zip(
        split.forget.images.split(256), split.forget.labels.split(256), strict=True
    ):
        (-cross_entropy(net(images.to(device)), labels.to(device))).backward()
    found = {name: weight.grad.abs() for name, weight in net.named_parameters()}
    net.zero_grad()
    return top_share(found, share)


def top_share(sizes: dict[str, torch.Tensor], share: float) -> dict[str, torch.Tensor]:
    """Marks the largest `share` of all numbers, rounded down; all tensors are ranked together."""
    together = torch.cat([one.flatten() for one in sizes.values()])
    chosen = torch.zeros(len(together), dtype=torch.bool, device=together.device)
    chosen[together.topk(int(share * len(together))).indices] = True
    parts = chosen.split([one.numel() for one in sizes.values()])
    return {
        name: part.view_as(size) for (name, size), part in zip(sizes.items(), parts, strict=True)
    }


@torch.no_grad()
def mean_loss(net: nn.Module, pictures: Pictures) -> float:
    """Means the loss of a set: LoReUn's reference, step 1 of its algorithm."""
    net.eval()
    device, total = _device(net), 0.0
    for images, labels in zip(
        pictures.images.split(1000), pictures.labels.split(1000), strict=True
    ):
        total += float(cross_entropy(net(images.to(device)), labels.to(device), reduction="sum"))
    return total / len(pictures)


def _hold(
    net: nn.Module,
    optimizer: torch.optim.Optimizer,
    masks: dict[str, torch.Tensor] | None,
    start: dict[str, torch.Tensor],
) -> None:
    """Puts back what is not salient: weight decay and momentum move it without a gradient."""
    if masks is None:
        return
    with torch.no_grad():
        for name, weight in net.named_parameters():
            weight.copy_(torch.where(masks[name], weight, start[name]))
            optimizer.state[weight]["momentum_buffer"].mul_(masks[name])


def _sgd(net: nn.Module, lr: float) -> torch.optim.Optimizer:
    return torch.optim.SGD(net.parameters(), lr, momentum=0.9, weight_decay=WEIGHT_DECAY)


def _step(
    optimizer: torch.optim.Optimizer, loss: torch.Tensor, after: Callable[[], None] = lambda: None
) -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    after()


def _once(
    pictures: Pictures, batch: int, dice: torch.Generator, device: torch.device
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Gives each picture once, shifted and mirrored by chance; never a last one alone."""
    for rows in torch.randperm(len(pictures), generator=dice).split(batch):
        if len(rows) > 1:  # batch norm has no statistics of one
            yield shaken(pictures.images[rows], dice).to(device), pictures.labels[rows].to(device)


def _forever(
    pictures: Pictures, batch: int, dice: torch.Generator, device: torch.device
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    while True:
        yield from _once(pictures, min(batch, len(pictures)), dice, device)


def shaken(images: torch.Tensor, dice: torch.Generator) -> torch.Tensor:
    """Shifts pictures (N, 3, S, S) by up to 4 pixels over black, and mirrors half of them."""
    n, side = len(images), images.shape[-1]
    wide = pad(images, [PAD] * 4)
    top, left = torch.randint(2 * PAD + 1, (2, n, 1), generator=dice)
    rows, columns = top + torch.arange(side), left + torch.arange(side)
    mirrored = torch.rand(n, 1, generator=dice) < 0.5
    columns = torch.where(mirrored, columns.flip(1), columns)
    which = torch.arange(n)[:, None, None]
    return wide[which, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()


def _device(net: nn.Module) -> torch.device:
    return next(net.parameters()).device
