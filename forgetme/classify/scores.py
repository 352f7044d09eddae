"""Scores of unlearning in classification: accuracies, membership inference, tug of war."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from forgetme.classify.pictures import Pictures

BATCH = 1000
MOST = 2000  # members and outsiders that the attack learns from; its cost grows with their square


@torch.no_grad()
def confidences(net: torch.nn.Module, pictures: Pictures) -> tuple[np.ndarray, float]:
    """Looks at each picture once.

    Returns:
        The probability (N,) of the true label, and the accuracy in [0, 1].
    """
    device = next(net.parameters()).device
    net.eval()
    sure, right = [], 0
    for images, labels in zip(
        pictures.images.split(BATCH), pictures.labels.split(BATCH), strict=True
    ):
        logits, labels = net(images.to(device)).float(), labels.to(device)
        sure.append(logits.softmax(1).gather(1, labels[:, None])[:, 0].cpu().numpy())
        right += int((logits.argmax(1) == labels).sum())
    return np.concatenate(sure), right / len(pictures)


def membership(
    members: np.ndarray, outsiders: np.ndarray, forget: np.ndarray, *, seed: int = 0
) -> float:
    """Says how much of the forget set a membership attack takes for never seen.

    A support vector machine (C 3, radial kernel, gamma "auto") learns from one number, the
    confidence in the true label, to tell retained pictures from test pictures.

    Args:
        members: (N,) confidences of retained pictures, under the unlearned model.
        outsiders: (M,) of test pictures.
        forget: (K,) of the forget set.
        seed: of the draw of at most 2,000 members and as many outsiders.

    Returns:
        The share in [0, 1] that is taken for outsiders. The right value is Retrain's.

    **Source**: SalUn's evaluation/SVC_MIA.py, the entry "confidence". It learns from the first
    members in the files' order, of which it takes as many as there are outsiders.
    """
    from sklearn.svm import SVC

    draw = np.random.default_rng(seed)
    count = min(len(members), len(outsiders), MOST)
    inside, outside = (draw.permutation(part)[:count] for part in (members, outsiders))
    learned = SVC(C=3, gamma="auto", kernel="rbf").fit(
        np.concatenate([inside, outside])[:, None], np.repeat([1, 0], count)
    )
    return float((learned.predict(np.asarray(forget)[:, None]) == 0).mean())


def tug_of_war(ours: Sequence[float], retrained: Sequence[float]) -> float:
    """Says how near an unlearned model is to one that never saw the forget set.

    Args:
        ours: accuracies in [0, 1] on the forget, retain and test set.
        retrained: the same of the model trained without the forget set.

    Returns:
        In [0, 1]; 1 = the same accuracies.

    **Source**: LoReUn, section 5.1, after Zhao et al. 2024.

    Example:
        >>> round(tug_of_war((0.9477, 0.9792, 0.9224), (0.9437, 1.0, 0.9451)), 4)
        0.9531
    """
    return math.prod(1 - abs(a - b) for a, b in zip(ours, retrained, strict=True))
