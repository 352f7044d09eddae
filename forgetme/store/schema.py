"""The tables: `event` is the truth, `sample` is derived from it; the others are kept as they are.

A line of a table that matters has a hash of what was written, see `sums`.
"""

from functools import partial

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

VERSIONS = tuple(f"{number:04}" for number in range(1, 9))
SCHEMA = VERSIONS[-1]
BULKY = ("proposals", "other_tries")  # of a sample; light queries never read their pages

metadata = MetaData()

_row_id = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts up INTEGER keys only
_json = partial(JSON, none_as_null=True)
_NOT_COPIED = {"copied": False}  # a backup holds decisions, not the processes of one machine


def _digest(name: str = "digest") -> Column[str]:
    return Column(name, String(64))  # of the line as it was written: a turned byte is noticed


version = Table(
    "alembic_version",  # as the tool called it that older versions were migrated with
    metadata,
    Column("version_num", String(32), primary_key=True),
    info=_NOT_COPIED,
)

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
    _digest(),  # of all but the id
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
    _digest(),  # of all but what is bulky
    _digest("bulky_digest"),
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

person = Table(
    "person",
    metadata,
    Column("name", Text, primary_key=True),
    Column("name_key", Text, nullable=False, unique=True),  # Ann and ann are one
    Column("role", String(16), nullable=False),
    Column("origin", String(16), nullable=False),
    Column("password", Text),  # scrypt$n$r$p$salt$hash; NULL: signs in elsewhere
    Column("active", Boolean, nullable=False),
    Column("added_at", String(32), nullable=False),
    _digest(),
)

session = Table(
    "session",
    metadata,
    Column("token_sha", String(64), primary_key=True),
    Column("person", Text, nullable=False),
    Column("until", Float(53), nullable=False),  # seconds since 1970
    Column("began", Float(53), nullable=False),
    _digest(),
    Index("session_person", "person"),
)

access_token = Table(
    "access_token",
    metadata,
    Column("token_sha", String(64), primary_key=True),
    Column("person", Text, nullable=False),
    Column("label", Text, nullable=False),
    Column("added_at", String(32), nullable=False),
    _digest(),
    UniqueConstraint("person", "label"),
)

preference = Table(
    "preference",
    metadata,
    Column("person", Text, primary_key=True),
    Column("key", String(64), primary_key=True),
    Column("value", _json(), nullable=False),
    _digest(),
)

job = Table(
    "job",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("kind", String(32), nullable=False),
    Column("arguments", _json(), nullable=False),
    Column("by", Text, nullable=False),
    Column("heavy", Boolean, nullable=False),
    Column("created", Float(53), nullable=False),  # all times in seconds since 1970
    Column("host", Text),
    Column("claimed", Float(53)),
    Column("pid", Integer),
    Column("process_start", Text),  # with the pid, names one process
    Column("began", Float(53)),
    Column("heartbeat", Float(53)),
    Column("step", Integer, nullable=False),
    Column("total", Integer),
    Column("words", Text, nullable=False),
    Column("subject", Text),
    Column("stop_by", Text),
    Column("ended", Float(53)),
    Column("outcome", String(16)),
    Column("result", _json()),
    Column("error", Text),
    _digest(),
    Index("job_outcome_created", "outcome", "created"),
    Index("job_created", "created"),
    info=_NOT_COPIED,
)

wanted = Table(
    "wanted",
    metadata,
    Column("sample_id", String(16), primary_key=True),
    Column("at", Float(53), nullable=False),
    Column("place", Integer, nullable=False),  # 0 is needed first
    Index("wanted_place", "place"),
    info=_NOT_COPIED,
)

look = Table(
    "look",
    metadata,
    Column("concept", Text, primary_key=True),
    Column("model", Text, primary_key=True),  # vectors of two models do not compare
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("image_sha", String(64), nullable=False),
    Column("vector", LargeBinary, nullable=False),  # float16, of length 1
    _digest(),
)
