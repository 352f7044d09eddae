"""A curator's work: the pipeline, masks, fills, refining, the side story and the team.

The room has the name of the package's public function: `forgetme.curate(...)` runs the pipeline
over many images, see `forgetme.curate.batch.curate`.
"""

import sys
from types import ModuleType
from typing import Any


class _Room(ModuleType):
    def __call__(self, *args: Any, **options: Any) -> Any:
        """Runs `forgetme.curate.batch.curate`."""
        from forgetme.curate.batch import curate

        return curate(*args, **options)


sys.modules[__name__].__class__ = _Room
