"""The tables: `event` is the truth, `sample` is derived from it, `lease` is who holds what."""

from functools import partial

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

SCHEMA = "0006"  # head of migrations/versions

metadata = MetaData()

_row_id = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts up INTEGER keys only
_json = partial(JSON, none_as_null=True)

event = Table(
    "event",
    metadata,
    Column("id", _row_id, primary_key=True, autoincrement=True),
    Column("at", String(32), nullable=False),
    Column("actor", Text, nullable=False),
    Column("sample_id", String(16), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("payload", _json(), nullable=False),
    Column("version", Integer, nullable=False),
    Column("digest", String(64)),  # of all of it but the id: a turned byte is noticed
    UniqueConstraint("sample_id", "version", name="event_sample_version"),
    Index("event_actor", "actor", "id"),
    Index("event_kind", "kind", "id"),
    sqlite_autoincrement=True,  # an id is never given twice
)

sample = Table(
    "sample",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("seq", BigInteger, nullable=False),
    Column("concept", Text, nullable=False),
    Column("identity", Text, nullable=False),  # pixels, or the source of a broken file
    Column("name", Text, nullable=False),
    Column("name_key", Text, nullable=False),  # two names are equal when their keys are
    Column("state", String(16), nullable=False),
    Column("version", Integer, nullable=False),
    Column("image_sha", String(64)),
    Column("width", Integer),
    Column("height", Integer),
    Column("source", Text, nullable=False),
    Column("caption", Text, nullable=False),
    Column("notes", _json(), nullable=False),
    Column("error", Text),
    Column("chosen", Integer),
    Column("mask_sha", String(64)),
    Column("picked_try", Integer),
    Column("score_d", Float(53)),
    Column("score_s", Float(53)),
    Column("variant", String(32)),
    Column("low", Boolean),
    Column("decided_by", Text),
    Column("decided_how", String(16)),
    Column("decided_event", BigInteger),
    Column("comment", Text),
    Column("updated_at", String(32), nullable=False),
    Column("clip_score", Float(53)),
    Column("clip_margin", Float(53)),
    Column("verdict", String(8)),
    Column("disagreement", Float(53)),
    Column("novelty", Float(53)),
    Column("decided_at", String(32)),
    Column("reviewed", String(16)),
    Column("reviewed_by", Text),
    Column("lineage", _json()),
    Column("twin_of", String(16)),
    Column("twin_number", Integer),
    Column("tries", _json(), nullable=False),
    # The last two are bulky; light queries never read their pages.
    Column("proposals", _json(), nullable=False),
    Column("other_tries", _json()),
    UniqueConstraint("concept", "identity", name="sample_concept_identity"),
    UniqueConstraint("concept", "name_key", name="sample_concept_name"),
    Index("sample_seq", "seq"),
    Index("sample_state_seq", "state", "seq"),
    Index("sample_concept_seq", "concept", "seq"),
    Index("sample_decided", "decided_by", "decided_event"),
    Index("sample_twin", "twin_of", "decided_by"),
    # All that a queue filters and sorts by, so that it never reads the wide lines to find a page.
    Index(
        "sample_queue",
        "state",
        "concept",
        "seq",
        "id",
        "name_key",
        "updated_at",
        "decided_by",
        "decided_how",
        "decided_event",
        "verdict",
        "low",
        "reviewed",
        "twin_of",
        "clip_score",
        "clip_margin",
        "score_d",
        "score_s",
        "disagreement",
        "novelty",
    ),
)

lease = Table(
    "lease",
    metadata,
    Column("sample_id", String(16), primary_key=True),
    Column("holder", Text, nullable=False),
    Column("until", Float(53), nullable=False),  # seconds since 1970
    Index("lease_holder", "holder"),
)
