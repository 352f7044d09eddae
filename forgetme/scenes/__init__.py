"""The drawn world: picture-book scenes from a seed, with exact masks and backgrounds."""

from .backgrounds import BACKGROUNDS
from .compose import CONCEPTS, MAX_SIZE, MIN_SIZE, Scene, SceneObject, render_scene
from .write import SceneRow, write_scenes

__all__ = [
    "BACKGROUNDS",
    "CONCEPTS",
    "MAX_SIZE",
    "MIN_SIZE",
    "Scene",
    "SceneObject",
    "SceneRow",
    "render_scene",
    "write_scenes",
]
