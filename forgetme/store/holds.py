"""Who may work on which sample now: leases that expire, and second opinions kept apart."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import Connection, and_, delete, select
from sqlalchemy.dialects import postgresql, sqlite

from forgetme.store.database import Database
from forgetme.store.filters import kept_from
from forgetme.store.schema import lease, sample

HOLD_SECONDS = 180.0  # the page renews it well before


@dataclass(frozen=True)
class KeptBack:
    """Why somebody may not work on a sample now.

    Attributes:
        kind: somebody else holds it, or one person would decide two copies of one image.
        by: who holds it, or who decided the other copy.
    """

    kind: Literal["held", "twin"]
    by: str

    @property
    def words(self) -> str:
        """The reason, for the page."""
        if self.kind == "twin":
            return "You decided the other copy of this image; somebody else must decide this one."
        return f"{self.by} is working on this one. You can look at it; take the next one."


class Holds:
    """Leases as the page uses them: the open sample and the next few, taken and left together."""

    def __init__(self, database: Database) -> None:
        """Works on the store's own database."""
        self._database = database

    def take(
        self,
        ids: Sequence[str],
        by: str,
        *,
        leave: Iterable[str] = (),
        seconds: float = HOLD_SECONDS,
    ) -> dict[str, KeptBack]:
        """Takes or prolongs the hold on samples and gives others back, in one transaction.

        Args:
            ids: samples that the person has open or gets next.
            by: who takes them.
            leave: samples that they have left.
            seconds: how long the holds last unless they are renewed.

        Returns:
            Those of `ids` that the person may not have now, and why.
        """
        leave = list(leave)
        with self._database.write(durable=False) as connection:
            if leave:
                mine = and_(lease.c.sample_id.in_(leave), lease.c.holder == by)
                connection.execute(delete(lease).where(mine))
            kept_back = self._kept_back(connection, ids, by)
            for sample_id in ids:
                if sample_id not in kept_back:
                    self._lease(connection, sample_id, by, seconds)
        return kept_back

    def kept_back(self, ids: Sequence[str], by: str) -> dict[str, KeptBack]:
        """Returns those of `ids` that somebody may not work on now, and why."""
        with self._database.read() as connection:
            return self._kept_back(connection, ids, by)

    def of(self, ids: Sequence[str]) -> dict[str, str]:
        """Returns who holds which of these samples."""
        query = select(lease.c.sample_id, lease.c.holder).where(
            lease.c.sample_id.in_(ids), lease.c.until > time.time()
        )
        with self._database.read() as connection:
            return dict(connection.execute(query).all())

    def leave_all(self, by: str) -> None:
        """Gives back all that a person holds, as at signing out."""
        with self._database.write(durable=False) as connection:
            connection.execute(delete(lease).where(lease.c.holder == by))

    def _lease(self, connection: Connection, sample_id: str, holder: str, seconds: float) -> None:
        """Takes or prolongs a lease that nobody else has; one writer at a time is in between."""
        insert = (sqlite if self._database.is_sqlite else postgresql).insert
        until = time.time() + seconds
        connection.execute(
            insert(lease)
            .values(sample_id=sample_id, holder=holder, until=until)
            .on_conflict_do_update(
                index_elements=[lease.c.sample_id], set_={"holder": holder, "until": until}
            )
        )

    def _kept_back(
        self, connection: Connection, ids: Sequence[str], by: str
    ) -> dict[str, KeptBack]:
        held = select(lease.c.sample_id, lease.c.holder).where(
            lease.c.sample_id.in_(ids), lease.c.until > time.time(), lease.c.holder != by
        )
        twins = select(sample.c.id).where(sample.c.id.in_(ids), kept_from(by))
        found = {one: KeptBack("twin", by) for one in connection.scalars(twins)}
        return found | {one: KeptBack("held", who) for one, who in connection.execute(held)}


def drop(connection: Connection, sample_id: str, holder: str) -> None:
    """Deletes a holder's lease inside a transaction that is already open."""
    connection.execute(
        delete(lease).where(lease.c.sample_id == sample_id, lease.c.holder == holder)
    )
