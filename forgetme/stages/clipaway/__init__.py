"""CLIPAway: fill a hole with what CLIP sees around the object, and nothing of the object itself.

**Source**: Ekin et al. 2024, "CLIPAway: Harmonizing Focused Embeddings for Removing Objects via
Diffusion Models"; Sun et al. 2024, "Alpha-CLIP"; Ye et al. 2023, "IP-Adapter".
"""

from forgetme.stages.clipaway.fill import ClipAway, ClipAwaySettings, load_clipaway

__all__ = ["ClipAway", "ClipAwaySettings", "load_clipaway"]
