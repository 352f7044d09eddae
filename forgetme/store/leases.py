"""Who holds which sample, and until when; a lease is a courtesy that expires, not an event."""

import time
from collections.abc import Sequence

from sqlalchemy import Connection, and_, delete, or_, select
from sqlalchemy.dialects import postgresql, sqlite

from forgetme.store.database import Database
from forgetme.store.filters import kept_from
from forgetme.store.schema import lease, sample


class Leases:
    """Hands a sample to one holder at a time, among threads, processes and machines."""

    def __init__(self, database: Database) -> None:
        """Works on the store's own database."""
        self._database = database

    def take(self, sample_id: str, holder: str, seconds: float) -> bool:
        """Takes or prolongs a lease; False while somebody else holds it."""
        with self._database.write(durable=False) as connection:
            return self.take_in(connection, sample_id, holder, seconds)

    def take_next(
        self, holder: str, seconds: float, states: Sequence[str], concept: str | None
    ) -> str | None:
        """Takes the first sample that nobody holds, earlier states first, and returns its id.

        A copy of an image that the holder has decided is not for them.
        """
        held = and_(lease.c.sample_id == sample.c.id, lease.c.until > time.time())
        free = select(sample.c.id).outerjoin(lease, held).where(lease.c.sample_id.is_(None))
        free = free.where(~kept_from(holder))
        if concept is not None:
            free = free.where(sample.c.concept == concept)
        free = free.order_by(sample.c.seq).limit(1)
        # One writer at a time: nobody is in between.
        with self._database.write(durable=False) as connection:
            for state in states:
                sample_id = connection.scalar(free.where(sample.c.state == state))
                if sample_id is not None:
                    self.take_in(connection, sample_id, holder, seconds)
                    return sample_id
        return None

    def release(self, sample_id: str, holder: str) -> None:
        """Gives a lease back; nothing happens when somebody else holds it."""
        with self._database.write(durable=False) as connection:
            drop(connection, sample_id, holder)

    def take_in(self, connection: Connection, sample_id: str, holder: str, seconds: float) -> bool:
        """Takes or prolongs a lease inside a transaction that is already open."""
        insert = (sqlite if self._database.is_sqlite else postgresql).insert
        now = time.time()
        statement = insert(lease).values(sample_id=sample_id, holder=holder, until=now + seconds)
        statement = statement.on_conflict_do_update(
            index_elements=[lease.c.sample_id],
            set_={"holder": holder, "until": now + seconds},
            where=or_(lease.c.until <= now, lease.c.holder == holder),
        )
        return connection.scalar(statement.returning(lease.c.sample_id)) is not None


def drop(connection: Connection, sample_id: str, holder: str) -> None:
    """Deletes a holder's lease inside a transaction that is already open."""
    connection.execute(
        delete(lease).where(lease.c.sample_id == sample_id, lease.c.holder == holder)
    )
