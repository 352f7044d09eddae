"""Numbers of the ForgetMe paper, shown beside ours as theirs: other pictures, another variant."""

from __future__ import annotations

from typing import Any

# Of Entangled the paper prints one formula and its code has another; its numbers fit the code.
VARIANT = "released or unknown"
OTHER = "other pictures and models than here"
_SCORES = (
    "fid", "cmmd", "clip_distance", "clip_at_1", "clip_at_3", "clip_at_5",
    "entangled_d", "entangled_s",
)  # fmt: skip
_TABLE_2 = {  # method: the scores above, in their order
    "Ours": (58.8808, 0.8000, 0.9456, 0.8096, 0.7739, 0.6852, 0.8680, 0.8119),
    "CLIPAway": (68.4728, 0.8273, 0.8324, 0.7493, 0.7027, 0.6658, 0.7920, 0.7266),
    "LoRA+inpaint": (72.9584, 0.8231, 0.8211, 0.7355, 0.6791, 0.5842, 0.6997, 0.6350),
    "LoRA+I2I": (101.8833, 0.9340, 0.7808, 0.7194, 0.7080, 0.5802, 0.5603, 0.5752),
}
_TABLE_2_NOTES = {"Ours": f"the dataset's own pipeline, no unlearned model; {OTHER}"}
ALPHAS = (0.1, 0.5, 0.7, 0.9, 1.0)
_TABLE_3 = {  # dataset: Entangled at each of ALPHAS
    "Bird": (0.1041, 0.2642, 0.5068, 0.7727, 0.7182),
    "Cat": (0.1639, 0.1469, 0.3530, 0.8507, 0.9080),
    "Dog": (0.1558, 0.3011, 0.4639, 0.6314, 0.6070),
    "ImageNet": (0.5716, 0.1650, 0.1479, 0.5849, 0.5778),
}


def published() -> list[dict[str, Any]]:
    """Returns the paper's Tables 2 and 3, one row a number.

    Rows of Table 3 also have `concept` and `scale`, for a curve beside ours.
    """
    rows = [
        {
            "source": "ForgetMe, Table 2",
            "variant": VARIANT if score.startswith("entangled") else "unknown",
            "label": method,
            "score": score,
            "value": value,
            "note": _TABLE_2_NOTES.get(method, OTHER),
        }
        for method, values in _TABLE_2.items()
        for score, value in zip(_SCORES, values, strict=True)
    ]
    rows += [
        {
            "source": "ForgetMe, Table 3",
            "variant": VARIANT,
            "label": f"{dataset}, α = {alpha}",
            "score": "entangled",
            "value": value,
            "note": "the paper does not say whether -D or -S",
            "concept": dataset.lower(),
            "scale": alpha,
        }
        for dataset, values in _TABLE_3.items()
        for alpha, value in zip(ALPHAS, values, strict=True)
    ]
    return rows
