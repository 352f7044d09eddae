"""The command that unlearns in image classification: classify."""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer

from forgetme.cli.frame import (
    LINE_SECONDS,
    DeviceOption,
    JsonOption,
    app,
    note,
    print_json,
    print_table,
)


@app.command()
def classify(
    method: Annotated[
        str,
        typer.Argument(
            metavar="METHOD",
            help="retrain, rl, salun, with LoReUn's weights rl-f, rl-r, rl-both, salun-f, "
            "salun-r, salun-both, or all.",
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="RUN", help="Folder of the models and results.")],
    data: Annotated[
        str,
        typer.Option(
            metavar="FOLDER|ZIP|drawn",
            help="train/CLASS/… and test/CLASS/…, or CLASS/…; drawn needs no file.",
        ),
    ] = "drawn",
    forget: Annotated[
        str, typer.Option(metavar="random|CLASS", help="A tenth of the pictures, or a class.")
    ] = "random",
    width: Annotated[
        int | None, typer.Option(min=2, help="Of the net; 64: ResNet-18. [default: drawn 8, 64]")
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Of the first training. [default: drawn 12, 182]")
    ] = None,
    unlearn_epochs: Annotated[
        int | None, typer.Option(min=1, help="[default: the published 10, or 20]")
    ] = None,
    lr: Annotated[float, typer.Option(min=1e-6, max=1, help="Of unlearning.")] = 0.01,
    seed: Annotated[int, typer.Option(min=0, help="Of the split and of all chance.")] = 0,
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Forget pictures or a class in a ResNet-18, scored against one that never saw them.

    The benchmark of SalUn and LoReUn: UA, RA, TA, MIA, ToW, RTE. Trained models stay in RUN and
    are taken again.
    """
    import torch

    from forgetme.classify import METHODS, BenchSettings, run
    from forgetme.classify.pictures import read
    from forgetme.classify.unlearn import FitSettings

    small = data == "drawn"
    settings = BenchSettings(
        forget=forget,
        width=width or (8 if small else 64),
        fit=FitSettings(),
        unlearn_epochs=unlearn_epochs,
        lr=lr,
        seed=seed,
        device=device or ("cuda" if torch.cuda.is_available() else "cpu"),
    )
    if small:  # one method takes a minute and a half on one core
        settings = replace(settings, fit=FitSettings(epochs=12, batch=64))
    if epochs:
        settings = replace(settings, fit=replace(settings.fit, epochs=epochs))
    wanted = [name for name in METHODS if name != "retrain"] if method == "all" else [method]
    rows = run(read(data), wanted, out, settings, _told())
    if as_json:
        print_json({"rows": [asdict(row) | {"ua_salun": row.ua_salun} for row in rows]})
        return
    print_table(
        {
            "method": [row.method for row in rows],
            "UA (LoReUn)": [f"{row.forget_accuracy:.2%}" for row in rows],
            "UA (SalUn)": [f"{row.ua_salun:.2%}" for row in rows],
            "RA": [f"{row.retain_accuracy:.2%}" for row in rows],
            "TA": [f"{row.test_accuracy:.2%}" for row in rows],
            "MIA": [f"{row.mia:.2%}" for row in rows],
            "ToW": [f"{row.tow:.4f}" for row in rows],
            "RTE min": [f"{row.minutes:.2f}" for row in rows],
        },
        words=1,
    )


def _told():  # noqa: ANN202 (the room's type is imported inside the command)
    said = time.monotonic()

    def tell(what: str, epoch: int, epochs: int) -> None:
        nonlocal said
        if time.monotonic() - said >= LINE_SECONDS:
            said = time.monotonic()
            note(f"{what}: epoch {epoch + 1} of {epochs}")

    return tell
