"""One case of the classification benchmark: original, retrained, and unlearned models, scored."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from forgetme.classify.nets import ResNet18
from forgetme.classify.pictures import Pictures, Split, split
from forgetme.classify.scores import confidences, membership, tug_of_war
from forgetme.classify.unlearn import FitSettings, Told, UnlearnSettings, fit, unlearn
from forgetme.errors import ForgetmeError

SALIENT = 0.5  # share of weights that SalUn lets change
METHODS = {
    "retrain": None,
    **{
        name + suffix: (salient, reweigh)
        for name, salient in (("rl", None), ("salun", SALIENT))
        for suffix, reweigh in (("", ""), ("-f", "f"), ("-r", "r"), ("-both", "both"))
    },
}


def published(method: str, forget: str) -> UnlearnSettings:
    """Gives a method's published settings.

    **Source**: LoReUn, section 5.1; RL and SalUn as compared there (10 epochs).
    """
    salient, reweigh = METHODS[method] or (None, "")
    alone = forget == "random"
    return UnlearnSettings(
        epochs=20 if alone and reweigh else 10,
        salient=salient,
        reweigh=reweigh,
        eta_f=0.1 if alone else 0.2,
        eta_r=0.25 if alone else 0.1,
    )


@dataclass(frozen=True)
class BenchSettings:
    """One case.

    Attributes:
        forget: "random" (a tenth of the pictures) or a class.
        width: of the net; 64 = ResNet-18.
        fit: how original and retrained model are trained.
        unlearn_epochs: instead of the published number.
        lr: of unlearning, instead of 0.01.
        seed: of the split, the first weights, the labels and the order.
        device: "cpu", "cuda".
    """

    forget: str = "random"
    width: int = 64
    fit: FitSettings = field(default_factory=FitSettings)
    unlearn_epochs: int | None = None
    lr: float = 0.01
    seed: int = 0
    device: str = "cpu"


@dataclass(frozen=True)
class Row:
    """What one model reached; accuracies and shares in [0, 1].

    Attributes:
        method: its name.
        forget_accuracy: LoReUn prints this as UA (the nearer to Retrain's, the better); SalUn
            prints 1 minus it (see `ua_salun`).
        retain_accuracy: RA; `test_accuracy`: TA.
        mia: share of the forget set taken for never seen.
        tow: tug of war against the retrained model; 1 = the same accuracies.
        minutes: RTE, of training or unlearning.
    """

    method: str
    forget_accuracy: float
    retain_accuracy: float
    test_accuracy: float
    mia: float
    tow: float
    minutes: float

    @property
    def ua_salun(self) -> float:
        """UA as SalUn's paper and code print it."""
        return 1 - self.forget_accuracy


def run(
    data: tuple[Pictures, Pictures],
    methods: Sequence[str],
    out: Path,
    settings: BenchSettings,
    told: Told = lambda *_: None,
) -> list[Row]:
    """Trains what is not there yet, unlearns, and scores.

    Args:
        data: pictures to train on and to test on, of `pictures.read`.
        methods: names in `METHODS`; Retrain is measured in any case, the others lean on it.
        out: folder; trained models stay there and are taken again where all settings are equal.
        settings: the case.
        told: hears what is done: (what, epoch, epochs).

    Returns:
        Retrain's row first, then one for each method, in order. `out/results.json` has them, too.

    Raises:
        ForgetmeError: a method or a class is unknown, or a model in `out` is damaged.
    """
    unknown = [name for name in methods if name not in METHODS]
    if unknown:
        raise ForgetmeError(f"no method is called {unknown[0]!r}; known: {', '.join(METHODS)}")
    out.mkdir(parents=True, exist_ok=True)
    parts = split(*data, settings.forget, seed=settings.seed)
    case = _case(parts, settings)
    everything = _together(parts)
    original, _ = _trained(out / f"original-{case}.safetensors", everything, settings, told)
    retrained, minutes = _trained(out / f"retrain-{case}.safetensors", parts.retain, settings, told)
    rows = [_row("retrain", retrained, parts, None, minutes)]
    for method in methods:
        if method == "retrain":
            continue
        net = _net(everything, settings)
        net.load_state_dict(original.state_dict())
        asked = published(method, settings.forget)
        asked = UnlearnSettings(
            **asdict(asked) | {"lr": settings.lr, "epochs": settings.unlearn_epochs or asked.epochs}
        )
        start = time.monotonic()
        unlearn(net, parts, asked, settings.seed, lambda _, *at, m=method: told(m, *at))
        minutes = (time.monotonic() - start) / 60
        rows.append(_row(method, net, parts, rows[0], minutes))
    _write(out / "results.json", settings, rows)
    return rows


def _row(method: str, net: ResNet18, parts: Split, retrained: Row | None, minutes: float) -> Row:
    looked = [confidences(net, part) for part in (parts.forget, parts.retain, parts.test)]
    (forget, _), (members, _), (outsiders, _) = looked
    ours = [accuracy for _, accuracy in looked]
    other = ours if retrained is None else [
        retrained.forget_accuracy, retrained.retain_accuracy, retrained.test_accuracy,
    ]  # fmt: skip
    return Row(
        method, *ours, membership(members, outsiders, forget), tug_of_war(ours, other), minutes
    )


def _trained(
    path: Path, pictures: Pictures, settings: BenchSettings, told: Told
) -> tuple[ResNet18, float]:
    """Opens a model that was trained before, or trains it; and how many minutes that took."""
    net = _net(pictures, settings)
    notes = path.with_suffix(".json")
    if notes.is_file():
        try:
            net.load_state_dict(load_file(path, device=settings.device))
            return net, json.loads(notes.read_text(encoding="utf-8"))["minutes"]
        except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
            raise ForgetmeError(f"{path}: damaged ({error}); delete it to train it anew") from None
    start = time.monotonic()
    name = path.name.split("-")[0]
    fit(net, pictures, settings.fit, settings.seed, lambda _, *at: told(name, *at))
    minutes = (time.monotonic() - start) / 60
    state = {key: value.cpu().contiguous() for key, value in net.state_dict().items()}
    part = path.with_suffix(".part")
    save_file(state, part)
    part.replace(path)
    notes.write_text(json.dumps({"minutes": minutes}), encoding="utf-8")  # last: it is whole
    return net, minutes


def _net(pictures: Pictures, settings: BenchSettings) -> ResNet18:
    torch.manual_seed(settings.seed)
    return ResNet18(len(pictures.classes), settings.width).to(settings.device)


def _together(parts: Split) -> Pictures:
    both: Callable[[str], torch.Tensor] = lambda name: torch.cat(  # noqa: E731
        [getattr(parts.retain, name), getattr(parts.forget, name)]
    )
    return Pictures(both("images"), both("labels"), parts.retain.classes)


def _case(parts: Split, settings: BenchSettings) -> str:
    """Names what the trained models depend on."""
    asked = [settings.forget, settings.width, asdict(settings.fit), settings.seed]
    found = hashlib.sha256(json.dumps(asked).encode())
    for part in (parts.forget, parts.retain):
        found.update(part.images.numpy().tobytes())
        found.update(part.labels.numpy().tobytes())
    return found.hexdigest()[:12]


def _write(path: Path, settings: BenchSettings, rows: list[Row]) -> None:
    result = {
        "settings": asdict(settings),
        "rows": [asdict(row) | {"ua_salun": row.ua_salun} for row in rows],
    }
    part = path.with_suffix(".part")
    part.write_text(json.dumps(result, indent=1), encoding="utf-8")
    part.replace(path)
