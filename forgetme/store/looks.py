"""How the images of a concept look to the ranker, and how new one is among those before it.

The vectors are kept beside the log, not in it: they can be computed again from the images, and the
number that they lead to is in the `proposed` event.
"""

from __future__ import annotations

import numpy as np
from sqlalchemy import delete, insert, select

from forgetme.store.database import Database
from forgetme.store.record import SampleRow
from forgetme.store.schema import look
from forgetme.store.sums import sealed, whole_lines

COMPARED = 512  # earlier samples that a new one is compared with, the latest of them


class Looks:
    """Keeps a vector of each prepared image."""

    def __init__(self, database: Database) -> None:
        """Works on the store's own database."""
        self._database = database

    def novelty(self, row: SampleRow, vector: np.ndarray, model: str) -> float:
        """Keeps how a sample looks and tells how new that is.

        Args:
            row: the sample.
            vector: (D,) float, the ranker's embedding of the whole image, of any length but 0.
            model: name of the ranker.

        Returns:
            1 - the highest cosine with an earlier sample of the concept that shows another image,
            in [0, 1], higher is newer; 1 where there is none.

        Raises:
            ValueError: the vector has another shape, is 0 or not finite.
        """
        length = np.linalg.norm(vector)
        if vector.ndim != 1 or not np.isfinite(length) or length == 0:
            raise ValueError(
                f"vector must be (D,), finite and not 0, got {vector.shape} of length {length}"
            )
        kept = (vector / length).astype("<f2")
        mine = {"concept": row.concept, "model": model, "seq": row.seq}
        columns = look.c
        earlier = (
            select(look)
            .where(columns.concept == row.concept, columns.model == model, columns.seq < row.seq)
            .where(columns.image_sha != row.image_sha)  # another copy of it is not another image
            .order_by(columns.seq.desc())
            .limit(COMPARED)
        )
        with self._database.write() as connection:
            connection.execute(delete(look).where(*(columns[key] == mine[key] for key in mine)))
            line = mine | {"image_sha": row.image_sha, "vector": kept.tobytes()}
            connection.execute(insert(look).values(sealed(look, line)))
            lines = whole_lines(look, connection.execute(earlier).mappings())
            others = [line["vector"] for line in lines]
        if not others:
            return 1.0
        known = np.frombuffer(b"".join(others), "<f2").reshape(len(others), -1).astype(np.float32)
        nearest = float((known @ kept.astype(np.float32)).max())
        return min(max(1 - nearest, 0.0), 1.0)
