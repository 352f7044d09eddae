"""Brings folders of images into the store, in the background, while the page is already up."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from forgetme.curate.batch import check_concept, find_images
from forgetme.errors import BrokenImageError, ForgetmeError
from forgetme.record.images import read_image_with_notes
from forgetme.store import Store

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Folder:
    """A folder of images and what is to be forgotten in them."""

    path: Path
    concept: str


def sample_folders(samples: Path) -> list[Folder]:
    """Returns the folders of the images that come with ForgetMe, one for each concept."""
    if not samples.is_dir():
        return []
    return [Folder(path, path.name) for path in sorted(samples.iterdir()) if path.is_dir()]


def take_in(store: Store, folder: Folder, by: str) -> int:
    """Imports the images of a folder that the store does not have yet; returns how many.

    A file that cannot be read becomes a `broken` sample with its reason. Nothing here stops at one
    bad file; a full disk stops it all.

    Args:
        store: where they go.
        folder: the images and their concept.
        by: name recorded with the import.
    """
    concept = check_concept(folder.concept)
    files, _ = find_images(folder.path)
    known = {source for source, state in store.sources(concept).items() if state != "broken"}
    taken = 0
    for file in files:
        source = str(file.resolve())
        if source in known:
            continue
        about = {"name": file.name, "concept": concept, "by": by, "source": source}
        try:
            read = read_image_with_notes(file)
            store.import_image(read.image, notes=read.notes, **about)
            taken += 1
        except BrokenImageError as error:
            store.import_broken(error=str(error), **about)
    return taken


def take_in_all(store: Store, folders: list[Folder], by: str) -> None:
    """Imports several folders; what goes wrong is logged in words."""
    for folder in folders:
        try:
            taken = take_in(store, folder, by)
        except ForgetmeError as error:
            log.error("%s", error)
            return
        if taken:
            log.info("%d images of %s taken in from %s", taken, folder.concept, folder.path)
