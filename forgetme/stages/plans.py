"""How a stage's name, path or address becomes a model: what is looked for, and what loads it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from forgetme.errors import ForgetmeError, MissingModelError
from forgetme.stages import weights
from forgetme.stages.addresses import check_proxies, check_url
from forgetme.stages.secret import Secret

if TYPE_CHECKING:
    from forgetme.stages.diffusion import Diffusion
    from forgetme.stages.inpaint import Inpainter
    from forgetme.stages.rank import Ranker
    from forgetme.stages.second import SecondRecogniser
    from forgetme.stages.segment import Segmenter
    from forgetme.stages.verify import ClipVerifier, OpenAIVerifier

Preset = Literal["tiny", "full"]
Stage = Literal["segmenter", "ranker", "verifier", "inpainter", "diffusion"]

ALIASES = {
    "ViT-B-32": "ViT-B-32-quickgelu/openai",
    "ViT-L-14": "ViT-L-14-quickgelu/openai",
    "ViT-B-32-quickgelu": "ViT-B-32-quickgelu/openai",
    "ViT-L-14-quickgelu": "ViT-L-14-quickgelu/openai",
    "openai": "gpt-4o",
}
_BIG_LAMA_SCALE = 1024  # px, longest side
_TINY_SCALE = 256

# One model is loaded at a time: transformers and diffusers put together what they export when it is
# first asked for, and a second thread that asks meanwhile is told that it does not exist. The lock
# can be taken again: the verifier's load takes the ranker's.
_LOADING = threading.RLock()


@dataclass(frozen=True)
class Place:
    """Where models come from and where they go."""

    assets: Path
    cache: Path
    device: str | None
    embeddings: Path | None
    api_key: str = field(repr=False)
    base_url: str | None

    def on(self) -> str:
        """Says where models run."""
        if self.device is not None:
            return self.device
        import torch

        return "cuda" if torch.cuda.is_available() else "cpu"

    def tiny(self, file: str, command: str) -> Path:
        """Finds bundled weights, or names the command that trains them."""
        path = self.assets / file
        if not path.exists():
            raise MissingModelError(
                f"the bundled weights {path} are not there; "
                f"run `python -m forgetme tiny train {command}`"
            )
        return path


class Lazy:
    """A value made once, on first use, whoever asks first; a failed attempt is made again."""

    def __init__(self, check: Callable[[], Any], load: Callable[[], Any]) -> None:
        self.check = check  # raises MissingModelError without loading
        self._load = load
        self._value: Any = None

    def problem(self) -> str | None:
        """Says why it cannot be loaded, without loading it; None where it can."""
        try:
            self.check()
        except ForgetmeError as error:
            return str(error)
        return None

    def get(self) -> Any:
        """Returns the value, loaded by the first who asks."""
        if self._value is None:
            with _LOADING:
                if self._value is None:
                    self.check()
                    self._value = self._load()
        return self._value


def _segmenter(name: str, place: Place, _: Mapping[Stage, Lazy]) -> Lazy:
    kinds = {"sam-vit-b": "vit_b", "sam-vit-l": "vit_l", "sam-vit-h": "vit_h"}
    published, _, own = name.partition("=")

    def signed(segmenter: Segmenter, label: str, sha256: str) -> Segmenter:
        _signed(segmenter, label, sha256)
        if place.embeddings is not None:
            segmenter.keep_on_disk(place.embeddings)
        return segmenter

    def load_tiny(path: Path, label: str) -> Segmenter:
        from forgetme.stages.segment import load_tiny_sam

        return signed(load_tiny_sam(path, place.on()), label, _sha256(path))

    def load_published(kind: str, path: Path, label: str, sha256: str) -> Segmenter:
        from forgetme.stages.segment import load_sam

        return signed(load_sam(kind, path, place.on()), label, sha256)

    if name == "tiny":
        return _bundled(place, "segmenter.safetensors", "segmenter", load_tiny)
    if published in kinds:
        return _published(
            published,
            own,
            place,
            lambda path, sha256: load_published(kinds[published], path, published, sha256),
        )
    if not _is_path(name):
        raise _unknown("segmenter", name, ["tiny", *kinds])
    if not name.endswith(".pth"):
        return _from_path(name, load_tiny)
    label = next((label for label, kind in kinds.items() if kind in Path(name).name), None)
    if label is None:
        ways = " or ".join(f"{kind}={name}" for kind in kinds)
        raise ValueError(f"which Segment Anything is {name}? Name it as {ways}")
    return _from_path(
        name,
        lambda path, _: load_published(kinds[label], path, label, _sha256(path)),
    )


def _ranker(name: str, place: Place, _: Mapping[Stage, Lazy]) -> Lazy:
    known = [n for n in weights.PUBLISHED if n.startswith("ViT-")]
    published, _, own = name.partition("=")
    published = ALIASES.get(published, published)

    def load_tiny(path: Path, label: str) -> Ranker:
        from forgetme.stages.rank import load_tiny_clip

        return _signed(load_tiny_clip(path, place.on()), label, _sha256(path))

    def load_published(path: Path, sha256: str) -> Ranker:
        from forgetme.stages.rank import load_clip

        return _signed(load_clip(published, path, place.on()), published, sha256)

    if name == "tiny":
        return _bundled(place, "ranker.safetensors", "ranker", load_tiny)
    if published in known:
        return _published(published, own, place, load_published)
    if not _is_path(name):
        raise _unknown("ranker", name, ["tiny", *known])
    return _from_path(name, load_tiny)


def plan_second(preset: Preset, ranker: str, place: Place) -> Lazy:
    """Plans the second recogniser: the bundled one, or a published CLIP that is not the ranker."""

    def load(path: Path, label: str) -> SecondRecogniser:
        from forgetme.stages.second import load_second

        return _signed(load_second(path, place.on()), label, _sha256(path))

    if preset == "tiny":
        return _bundled(place, "second.safetensors", "second", load)
    small, large = "ViT-B-32-quickgelu/openai", "ViT-L-14-quickgelu/openai"
    return _ranker(large if ranker.startswith(small) else small, place, {})


def _verifier(name: str, place: Place, stages: Mapping[Stage, Lazy]) -> Lazy:
    def load_clip() -> ClipVerifier:
        from forgetme.stages.verify import ClipVerifier

        return ClipVerifier(stages["ranker"].get())

    def check_key() -> None:
        if not place.api_key and place.base_url is None:
            raise MissingModelError(
                f"the verifier {name} needs a key: set OPENAI_API_KEY (and OPENAI_BASE_URL for "
                "another server), or choose the verifier 'clip'"
            )
        Secret(place.api_key)
        check_url(place.base_url)
        check_proxies()

    def load_openai() -> OpenAIVerifier:
        from forgetme.stages.verify import OpenAIVerifier

        return OpenAIVerifier(
            name.removeprefix("openai/"),
            api_key=place.api_key,
            base_url=place.base_url,
            cache=place.cache / "verdicts.db",
        )

    if name == "clip":
        return Lazy(lambda: stages["ranker"].check(), load_clip)
    if name == "gpt-4o" or (name.startswith("openai/") and name != "openai/"):
        return Lazy(check_key, load_openai)
    raise _unknown("verifier", name, ["clip", "gpt-4o", "openai", "openai/MODEL"])


def _inpainter(name: str, place: Place, _: Mapping[Stage, Lazy]) -> Lazy:
    def load(path: Path, label: str, scale: int, sha256: str) -> Inpainter:
        from forgetme.stages.inpaint import Inpainter

        return _signed(Inpainter(path, device=place.on(), scale=scale), label, sha256)

    if name == "tiny":
        return _bundled(
            place,
            "filler.pt",
            "filler",
            lambda path, label: load(path, label, _TINY_SCALE, _sha256(path)),
        )
    published, _, own = name.partition("=")
    if published == "big-lama":
        return _published(
            published,
            own,
            place,
            lambda path, sha256: load(path, "big-lama", _BIG_LAMA_SCALE, sha256),
        )
    if not _is_path(name):
        raise _unknown("inpainter", name, ["tiny", "big-lama"])
    return _from_path(
        name,
        lambda path, label: load(path, label, _BIG_LAMA_SCALE, _sha256(path)),
    )


def _diffusion(name: str, place: Place, _: Mapping[Stage, Lazy]) -> Lazy:
    draws, _, paints = name.partition("+")
    folders = [_diffusion_folder(part, place) for part in (draws, paints) if part]

    def load() -> Diffusion:
        from forgetme.stages.diffusion import Diffusion

        found = [find() for find, _ in folders]
        shas = [sum_up(path) for path, (_, sum_up) in zip(found, folders, strict=True)]
        return Diffusion(
            found[0],
            inpaint_folder=found[1] if paints else None,
            device=place.on(),
            made_by="+".join(
                f"{'tiny/diffusion' if part == 'tiny' else Path(part).name}@{sha[:8]}"
                for part, sha in zip((draws, paints), shas, strict=False)
            ),
        )

    return Lazy(lambda: [find() for find, _ in folders], load)


def _diffusion_folder(name: str, place: Place) -> tuple[Callable[[], Path], Callable[[Path], str]]:
    """Gives two functions: find the folder, and compute its sha256."""
    if name == "tiny":
        return (
            lambda: place.tiny("diffusion/model_index.json", "diffusion").parent,
            _sha256,
        )
    if name in ("sd15", "sd15-inpaint"):
        return (
            lambda: weights.locate(name, cache=place.cache),
            lambda _: weights.check(name, cache=place.cache)[1],
        )
    if not _is_path(name):
        raise _unknown("diffusion", name, ["tiny", "sd15", "sd15-inpaint"])
    return lambda: _existing(name), _sha256


PLANS: dict[Stage, Callable[[str, Place, Mapping[Stage, Lazy]], Lazy]] = {
    "segmenter": _segmenter,
    "ranker": _ranker,
    "verifier": _verifier,
    "inpainter": _inpainter,
    "diffusion": _diffusion,
}


def _bundled(place: Place, file: str, command: str, load: Callable[[Path, str], Any]) -> Lazy:
    def find() -> Path:
        return place.tiny(file, command)

    return Lazy(find, lambda: load(find(), f"tiny/{command}"))


def _published(name: str, own: str, place: Place, load: Callable[[Path, str], Any]) -> Lazy:
    """Plans a published checkpoint: the downloaded one, or the user's copy at `own`."""
    if own:
        return Lazy(lambda: _existing(own), lambda: load(_existing(own), _sha256(_existing(own))))
    return Lazy(
        lambda: weights.locate(name, cache=place.cache),
        lambda: load(*weights.check(name, cache=place.cache)),
    )


def _from_path(name: str, load: Callable[[Path, str], Any]) -> Lazy:
    return Lazy(lambda: _existing(name), lambda: load(_existing(name), Path(name).stem))


def _existing(name: str) -> Path:
    path = Path(name).expanduser()
    if not path.exists():
        raise MissingModelError(f"no model at {path}; check the path, or name a known model")
    return path


def _sha256(path: Path) -> str:
    return weights.folder_sha256(path) if path.is_dir() else weights.file_sha256(path)


def _is_path(name: str) -> bool:
    return (
        name.startswith(("/", ".", "~"))
        or Path(name).exists()
        or bool(Path(name).suffix in (".pt", ".pth", ".safetensors"))
    )


def _unknown(stage: str, name: str, known: list[str]) -> ValueError:
    return ValueError(f"unknown {stage} {name!r}; known: {', '.join(known)}, or a path to your own")


def _signed(model: Any, label: str, sha256: str) -> Any:
    """Writes down which weights a stage runs: every value that it makes carries this."""
    model.made_by = f"{label}@{sha256[:8]}"
    return model
