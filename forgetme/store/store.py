"""The store that the pipeline, the page and the commands share."""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from sqlalchemy import Select, func, select

from forgetme.errors import ForgetmeError
from forgetme.record.sample import STATES
from forgetme.record.unfinished import clear, left_behind
from forgetme.store import audit, log, table1
from forgetme.store.blobs import Blobs
from forgetme.store.database import Database, url_of
from forgetme.store.filters import Filter, narrowed, order_by
from forgetme.store.holds import Holds
from forgetme.store.jobs import Jobs
from forgetme.store.looks import Looks
from forgetme.store.migrate import migrate
from forgetme.store.names import clean_concept, plain_text
from forgetme.store.payloads import check_images, complete, plain_json
from forgetme.store.people import People
from forgetme.store.queries import Queries
from forgetme.store.queue import Queue
from forgetme.store.record import ConceptStats, Event, SampleRow
from forgetme.store.rows import broken_identity, event_of, light_columns, row_by_id, rows_in
from forgetme.store.schema import event as event_table
from forgetme.store.schema import sample as sample_table
from forgetme.store.tokens import Tokens

_log = logging.getLogger(__name__)

WALKED = 200  # whole samples in memory at a time; one on a large photo takes a megabyte


class Store:
    """Samples, the log of what was done to them, and their images.

    Safe to share among threads; any number of processes may open the same store. What a method
    that writes has returned survives `kill -9` and a power cut.

    Args:
        location: a folder (made when missing), or `postgresql://user@host/database`.
        blobs: folder of the images; default `blobs` inside the folder. PostgreSQL needs one.

        damaged: open it even where writes that were saved are lost, to look after it.

    Raises:
        ForgetmeError: the location cannot be opened; the message says why.
        StoreVersionError: a newer version wrote the store.
    """

    def __init__(
        self, location: str | Path, *, blobs: str | Path | None = None, damaged: bool = False
    ) -> None:
        """Opens the store; makes it, or brings it to this version, where needed."""
        url = url_of(location)
        self._database = Database(url)
        if self._database.is_sqlite:
            folder = Path(location)
            _make_folder(folder)
            blobs = blobs or folder / "blobs"
        elif blobs is None:
            raise ForgetmeError(
                "a PostgreSQL store keeps its images in a folder; name it: Store(url, blobs=DIR)"
            )
        self.location = self._database.name
        self._blobs = Blobs(Path(blobs))
        self.people = People(self._database)
        self.tokens = Tokens(self._database, self.people)
        self.queue = Queue(self._database)
        self.looks = Looks(self._database)
        self.queries = Queries(self._database)
        self.holds = Holds(self._database)
        self.folder = Path(blobs).absolute().parent  # of what lies beside the images
        self.jobs = Jobs(self._database, self.folder / "jobs", Path(blobs).absolute())
        self._database.check_encoding()
        if not damaged:
            self._check_count()
        migrate(self._database, self.folder / "backups")

    def _check_count(self) -> None:
        try:
            if problem := self._database.check_count():
                _log.warning(problem)
        except ForgetmeError:
            self._database.save_log(self.folder / "backups")
            self.close()
            raise

    def __enter__(self) -> "Store":
        """Returns the store."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Closes the store."""
        self.close()

    @property
    def embeddings(self) -> Path:
        """The folder for what a segmenter computed once for each image; it can be thrown away."""
        return self.folder / "cache" / "embeddings"

    @property
    def _made_in(self) -> tuple[Path, Path]:
        """Folders beside the images in which exports and uploads are made."""
        return self.folder / "exports", self.folder / "imports"

    def close(self) -> None:
        """Closes all connections; everything acknowledged is on disk already."""
        self._database.close()

    # Images

    def put_image(self, array: np.ndarray) -> str:
        """Keeps an image or mask, durably, and returns its sha (of the pixels).

        Args:
            array: (H, W, 3) RGB, (H, W, 4) RGBA or (H, W) uint8, or (H, W) bool.

        Raises:
            DiskFullError: no space left; nothing was written.
        """
        return self._blobs.put(array)

    def put_png(self, sha: str, data: bytes) -> None:
        """Keeps an image that was encoded elsewhere, durably.

        Args:
            sha: of its pixels, as `put_image` returns it.
            data: the PNG.

        Raises:
            DiskFullError: no space left; nothing was written.
        """
        self._blobs.put_png(sha, data)

    def get_image(self, sha: str) -> np.ndarray:
        """Returns the array of `put_image`; a mask comes as (H, W) uint8 0/255.

        One that is lost or damaged is made again where the log says how.

        Raises:
            ForgetmeError: it is lost or damaged for good.
        """
        try:
            return self._blobs.get(sha)
        except ForgetmeError as error:
            if not audit.remake(self._database, self._blobs, sha):
                raise
            _log.warning("%s; it was made again", error)
            return self._blobs.get(sha)

    def get_mask(self, sha: str) -> np.ndarray:
        """Returns a kept mask as (H, W) bool."""
        return self.get_image(sha) >= 128

    def blob_path(self, sha: str) -> Path:
        """Returns the PNG file of an image; read it, never write to it.

        Raises:
            ForgetmeError: the store has no such image.
        """
        return self._blobs.path(sha)

    # Import

    def import_image(
        self,
        image: np.ndarray,
        *,
        name: str,
        concept: str,
        by: str,
        source: str = "",
        notes: Sequence[str] = (),
        caption: str = "",
        lineage: dict[str, Any] | None = None,
        twin_of: str | None = None,
    ) -> SampleRow:
        """Adds an image, once for each concept: the same pixels again return the same sample.

        A sample that was broken and has the same `source` takes the readable image.

        Args:
            image: (H, W, 3) uint8 RGB.
            name: file name or stem; the sample's name is its safe form, with a suffix if taken.
            concept: what the sample is to forget; any text.
            by: curator, or "policy".
            source: path or address the image came from.
            notes: what was changed at reading.
            caption: what the picture shows.
            lineage: the samples it was merged from: `foreground`, `background` and `place`.
            twin_of: a sample with the same image and concept; this call then adds one more copy
                of it, for a second opinion.
        """
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise ValueError(
                f"image must be HxWx3 uint8 RGB, got {image.shape} {image.dtype}; "
                "read it with images.read_image"
            )
        return self.import_kept(
            self._blobs.put(image), image.shape[:2], name=name, concept=concept, by=by,
            source=source, notes=notes, caption=caption, lineage=lineage, twin_of=twin_of,
        )  # fmt: skip

    def import_kept(
        self,
        sha: str,
        size_hw: tuple[int, int],
        *,
        name: str,
        concept: str,
        by: str,
        source: str = "",
        notes: Sequence[str] = (),
        caption: str = "",
        lineage: dict[str, Any] | None = None,
        twin_of: str | None = None,
    ) -> SampleRow:
        """Adds an image that the store has (`put_png`), as `import_image` does; of `size_hw` px."""
        height, width = size_hw
        payload = {
            "image_sha": sha,
            "width": width,
            "height": height,
            "notes": list(notes),
            "caption": caption,
            **({} if lineage is None else {"lineage": lineage}),
            **({} if twin_of is None else {"twin_of": twin_of}),
        }
        return self._import(sha, payload, name=name, concept=concept, by=by, source=source)

    def import_broken(
        self, *, name: str, concept: str, by: str, error: str, source: str = ""
    ) -> SampleRow:
        """Adds a file that cannot be read as a `broken` sample, once for each source.

        Args:
            name: file name or stem.
            concept: as in `import_image`.
            by: curator, or "policy".
            error: why it cannot be read and what to do.
            source: path of the file.
        """
        # people read the error: the file's name, not its place
        payload = {"image_sha": None, "error": error.replace(source or name, name)}
        return self._import(
            broken_identity(source, name),
            payload,
            name=name,
            concept=concept,
            by=by,
            source=source,
        )

    def _import(
        self,
        identity: str,
        payload: dict[str, Any],
        *,
        name: str,
        concept: str,
        by: str,
        source: str,
    ) -> SampleRow:
        fixed = {"source": source, "concept": clean_concept(concept)}
        payload = plain_json({**payload, **fixed})
        with self._database.write() as connection:
            return log.add_sample(connection, identity, name, payload, by)

    # Reading

    def sample(self, sample_id: str, *, light: bool = False) -> SampleRow:
        """Returns a sample with all it has.

        Args:
            sample_id: the sample.
            light: leave `proposals`, which are megabytes on a large photo, and `other_tries`
                out (None).

        Raises:
            ForgetmeError: there is no such sample.
        """
        with self._database.read() as connection:
            return row_by_id(connection, sample_id, light=light)

    def samples(
        self,
        *,
        state: str | Sequence[str] | None = None,
        concept: str | None = None,
        where: Filter | None = None,
        order: str = "import",
        offset: int = 0,
        after: int = 0,
        limit: int | None = 100,
        light: bool = False,
    ) -> list[SampleRow]:
        """Returns samples, in the order of import unless told otherwise.

        Args:
            state: only in this state, or in one of these.
            concept: only of this concept.
            where: only those that the filter lets through.
            order: one of `filters.ORDERS`, "-" in front for from the highest down.
            offset: how many to pass over; the database walks along them, so `after` where all
                are read.
            after: only those whose `seq` is above it.
            limit: at most this many; None = all.
            light: leave the bulky parts out (None in the rows); lists of samples want this.
        """
        query = select(*light_columns()) if light else select(sample_table)
        query = narrowed(_of(query, concept), where)
        query = query.order_by(*order_by(order)).offset(offset).limit(limit)
        if after:
            query = query.where(sample_table.c.seq > after)
        if state is not None:
            states = [state] if isinstance(state, str) else list(state)
            query = query.where(sample_table.c.state.in_(states))
        with self._database.read() as connection:
            return rows_in(connection, query)

    def walk(self, concept: str | None = None, *, light: bool = True) -> Iterator[SampleRow]:
        """Yields all samples in the order of import, few of them in memory at a time."""
        after = 0
        while page := self.samples(concept=concept, after=after, limit=WALKED, light=light):
            yield from page
            after = page[-1].seq

    def counts(self, concept: str | None = None) -> dict[str, int]:
        """Returns how many samples are in each state, 0 included."""
        state = sample_table.c.state
        query = _of(select(state, func.count()).group_by(state), concept)
        with self._database.read() as connection:
            return dict.fromkeys(STATES, 0) | dict(connection.execute(query).all())

    def concepts(self) -> list[str]:
        """Returns the concepts, first imported first."""
        columns = sample_table.c
        query = select(columns.concept).where(columns.state != "deleted")
        query = query.group_by(columns.concept).order_by(func.min(columns.seq))
        with self._database.read() as connection:
            return list(connection.scalars(query))

    def sources(self, concept: str) -> dict[str, str]:
        """Returns the state of every source imported for a concept, so that a batch can resume."""
        columns = sample_table.c
        query = _of(select(columns.source, columns.state), concept).where(columns.twin_of.is_(None))
        with self._database.read() as connection:
            return dict(connection.execute(query).all())

    def events(
        self, sample_id: str | None = None, *, after: int = 0, limit: int | None = None
    ) -> list[Event]:
        """Returns events with an id above `after`, oldest first, of one sample or of all."""
        columns = event_table.c
        query = select(event_table).where(columns.id > after).order_by(columns.id).limit(limit)
        if sample_id is not None:
            query = query.where(columns.sample_id == sample_id)
        with self._database.read() as connection:
            return [event_of(line) for line in connection.execute(query).mappings()]

    def recent_decisions(self, by: str, n: int = 10) -> list[Event]:
        """Returns a curator's last decisions that are in force, the newest first."""
        query = (
            select(event_table)
            .join(sample_table, sample_table.c.decided_event == event_table.c.id)
            .where(sample_table.c.decided_by == by)
            .order_by(sample_table.c.decided_event.desc())
            .limit(n)
        )
        with self._database.read() as connection:
            return [event_of(line) for line in connection.execute(query).mappings()]

    def table1(self) -> list[ConceptStats]:
        """Returns the paper's Table 1 for this store, one line a concept."""
        with self._database.read() as connection:
            return table1.table1(connection)

    # Writing

    def append(
        self,
        sample_id: str,
        kind: str,
        payload: dict[str, Any],
        *,
        by: str,
        expected_version: int,
    ) -> SampleRow:
        """Adds one event to a sample; durable when it returns.

        `proposed` and `chosen` keep the chosen proposal's mask as an image themselves. Images
        named in the payload must have been put before.

        Args:
            sample_id: the sample.
            kind: one of the kinds of `record.Kind`, but "imported".
            payload: plain JSON, see `project`.
            by: curator, or "policy".
            expected_version: the version the writer saw.

        Returns:
            The sample after it.

        Raises:
            StaleVersionError: the sample has moved on; it has both versions.
            ValueError: the event does not fit the sample, or an image has another size.
        """
        if kind == "imported":
            raise ValueError("samples are imported with import_image or import_broken")
        seen = self.sample(sample_id, light=kind != "chosen")
        payload = complete(self._blobs, seen, kind, plain_json(payload))
        check_images(self._blobs, seen, payload)
        with self._database.write() as connection:
            return log.add_event(connection, sample_id, kind, payload, by, expected_version)

    def undo(self, by: str, *, sample_id: str | None = None) -> SampleRow | None:
        """Takes back the last decision in force of this curator, or of this sample.

        Args:
            by: who takes back.
            sample_id: take back this sample's decision, whoever made it.

        Returns:
            The sample after it, or None when there is no decision to take back.
        """
        with self._database.write() as connection:
            return log.add_undo(connection, by, sample_id)

    # Care

    def check(self) -> list[str]:
        """Compares every row with its events and every image with its name.

        Returns:
            One sentence for each problem; empty when all is well.
        """
        problems = audit.check(self._database, self._blobs)
        try:
            problems += filter(None, [self._database.check_count()])
        except ForgetmeError as error:
            problems.insert(0, str(error))
        half = [path for folder in self._made_in for path in left_behind(folder)]
        return problems + [
            f"{path} is what a killed export or upload left half-made; `store rebuild` removes it"
            for path in half
        ]

    def rebuild(self) -> int:
        """Derives all rows from the events again and returns their number.

        Files that killed writers left unfinished are removed, too.
        """
        self._blobs.clear()
        for folder in self._made_in:
            clear(folder)
        return audit.rebuild(self._database, self._blobs)

    def backup(self, path: str | Path) -> Path:
        """Writes a whole copy, database and images, that `Store(path)` opens.

        Args:
            path: a folder that is missing or empty.

        Raises:
            ForgetmeError: the folder holds something.
        """
        path = Path(path)
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise ForgetmeError(f"{path} is not empty; name a new folder for the backup")
        with Store(path) as copy:
            audit.copy(self._database, copy._database)  # rows first: images are never deleted
            copy._blobs.take(self._blobs)
        return path


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise ForgetmeError(f"{folder} is a file; a store is a folder, name another") from error
    except OSError as error:
        raise ForgetmeError(f"cannot make the folder {folder}: {error.strerror}") from error


def _of(query: Select[Any], concept: str | None) -> Select[Any]:
    if concept is None:
        return query
    return query.where(sample_table.c.concept == plain_text(concept).strip())
