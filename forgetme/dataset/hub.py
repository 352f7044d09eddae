"""A repository on the Hugging Face Hub: look, upload, one commit; errors in plain words."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import sleep
from typing import Any, Literal, TypeVar

from forgetme.errors import ForgetmeError
from forgetme.stages.addresses import check_proxies

TRIES = 5
MAX_WAIT_SECONDS = 60.0
MAX_TEXT_BYTES = 5 * 2**20

_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9_][\w.-]*", re.ASCII)
_TRANSPORT = re.compile(r"httpx2?\..*TransportError")
_TOKENS = "https://huggingface.co/settings/tokens"

T = TypeVar("T")


class PushConflictError(ForgetmeError):
    """Somebody else changed the repository between our look and our commit."""


@dataclass(frozen=True)
class Commit:
    """The commit that has all files.

    Attributes:
        sha: its name.
        changed: False where the files were there already.
    """

    sha: str
    changed: bool


class Hub:
    """A repository seen at one commit, which is the parent of the commit that we make.

    Args:
        repo: "user/name".
        token: with the right to write; it is never part of a message.
        endpoint: address of the Hub; None = as huggingface_hub has it.
        kind: what the repository holds.

    Raises:
        ForgetmeError: `repo` is no such name.
    """

    def __init__(
        self,
        repo: str,
        *,
        token: str | None,
        endpoint: str | None = None,
        kind: Literal["dataset", "model"] = "dataset",
    ) -> None:
        """Sends nothing yet."""
        if not _NAME.fullmatch(repo) or ".." in repo or "--" in repo or len(repo) > 96:
            raise ForgetmeError(
                f"a repository is user/name of letters, digits, - _ and ., got {repo!r}"
            )
        self.repo = repo
        self.kind = kind
        self.files: tuple[str, ...] = ()
        self._token = token
        self._endpoint = endpoint
        self._head = ""
        self._additions: list[Any] = []

    @property
    def url(self) -> str:
        """Where people look at it."""
        from huggingface_hub import constants

        place = "datasets/" if self.kind == "dataset" else ""
        return f"{self._endpoint or constants.ENDPOINT}/{place}{self.repo}"

    def open(self, *, private: bool) -> bool:
        """Looks at the repository, which is made where it is missing, and remembers its commit.

        Args:
            private: whether a new one is private.

        Returns:
            Whether it is private.

        Raises:
            ForgetmeError: there is no token, the Hub refuses, it is public and should be private,
                or the environment names a proxy that cannot be used.
        """
        if not self._token:
            raise ForgetmeError(
                f"pushing needs a token of the Hub with the right to write: make one at {_TOKENS} "
                "and set HF_TOKEN, or run `hf auth login`"
            )
        check_proxies()
        with self._words():
            info = self._again(self._look)
            if info is None:
                self._again(self._create, private)
                info = self._again(self._look)
        if info is None:
            raise ForgetmeError(f"the Hub made {self.repo} and does not show it; try again later")
        if private and not info.private:
            raise ForgetmeError(
                f"{self.repo} is public, and this push is private; push with --public, or make the "
                f"repository private at {self.url}/settings first"
            )
        self._head = info.sha
        self.files = tuple(one.rfilename for one in info.siblings or ())
        return bool(info.private)

    def text(self, name: str) -> str | None:
        """Returns a small text file of the commit that we saw; None where there is none."""
        return self._text(name, self._head) if name in self.files else None

    def upload(self, name: str, path: Path) -> None:
        """Uploads a file, if the Hub does not have these bytes; it shows with the commit only."""
        from huggingface_hub import CommitOperationAdd

        addition = CommitOperationAdd(name, str(path))
        with self._words():
            self._api().preupload_lfs_files(self.repo, [addition], repo_type=self.kind)
        self._additions.append(addition)

    def commit(self, title: str, *, delete: Sequence[str], landed: tuple[str, str]) -> Commit:
        """Makes one commit of all uploads, on top of the one that we saw.

        Args:
            title: one line.
            delete: files to remove.
            landed: a file and its text that tell our commit from all others: when the answer of
                the Hub is lost, this is how we know that the commit was made.

        Raises:
            PushConflictError: another commit was faster; nothing is changed.
            ForgetmeError: the Hub refuses, or the line is down.
        """
        for left in reversed(range(TRIES)):
            try:
                return self._commit(title, delete)
            except Exception as error:  # of httpx, whose name depends on the release
                status = _status(error)
                if status not in (409, 412) and not _passing(error):
                    raise self._plain(error) from error
                head = self._newer_head()
                if head is not None:
                    if self._text(landed[0], head) == landed[1]:
                        return Commit(head, True)
                    raise self._conflict(head) from error
                if left == 0:
                    raise self._plain(error) from error
                sleep(_wait(error, TRIES - left))
        raise AssertionError("the last try returns or raises")

    # The calls

    def _api(self) -> Any:
        from huggingface_hub import HfApi

        return HfApi(endpoint=self._endpoint, token=self._token or False, library_name="forgetme")

    def _look(self) -> Any:
        from huggingface_hub.errors import RepositoryNotFoundError

        try:
            return self._api().repo_info(self.repo, repo_type=self.kind)
        except RepositoryNotFoundError as error:
            if _status(error) == 404:
                return None
            raise

    def _create(self, private: bool) -> None:
        self._api().create_repo(self.repo, repo_type=self.kind, private=private, exist_ok=True)

    def _commit(self, title: str, delete: Sequence[str]) -> Commit:
        from huggingface_hub import CommitOperationDelete

        made = self._api().create_commit(
            self.repo,
            [*self._additions, *(CommitOperationDelete(name) for name in delete)],
            commit_message=title,
            repo_type=self.kind,
            parent_commit=self._head,
        )
        return Commit(made.oid, made.oid != self._head)

    def _newer_head(self) -> str | None:
        with self._words():
            info = self._again(self._look)
        return None if info is None or info.sha == self._head else info.sha

    def _text(self, name: str, commit: str) -> str | None:
        from huggingface_hub.errors import EntryNotFoundError

        with TemporaryDirectory() as folder, self._words():
            try:
                path = self._again(
                    self._api().hf_hub_download,
                    self.repo,
                    name,
                    repo_type=self.kind,
                    revision=commit,
                    local_dir=folder,
                )
            except EntryNotFoundError:
                return None
            if Path(path).stat().st_size > MAX_TEXT_BYTES:
                raise ForgetmeError(f"{name} of {self.repo} is too large to be a text; remove it")
            return Path(path).read_text(encoding="utf-8")

    def _again(self, call: Callable[..., T], *arguments: Any, **named: Any) -> T:
        """Calls until it works, a few times: for calls that do not retry themselves."""
        for tried in range(1, TRIES):
            try:
                return call(*arguments, **named)
            except Exception as error:  # as above
                if not _passing(error):
                    raise
                sleep(_wait(error, tried))
        return call(*arguments, **named)

    # The words

    @contextmanager
    def _words(self) -> Iterator[None]:
        try:
            yield
        except ForgetmeError:
            raise
        except Exception as error:
            raise self._plain(error) from error

    def _plain(self, error: Exception) -> Exception:
        """Returns what to tell people; an error that is none of the Hub's stays as it is."""
        status = _status(error)
        if status is None:
            if not _dropped(error):
                return error
            return ForgetmeError(
                f"the line to the Hub broke {TRIES} times ({type(error).__name__}); what is "
                "uploaded stays there, push again to go on"
            )
        says = f" (it says: {said})" if (said := _said(error)) else ""
        words = {
            400: "the Hub refuses what was sent",
            401: f"the Hub does not accept the token; make one that may write at {_TOKENS}",
            403: f"this token may not write to {self.repo}; check its rights at {_TOKENS}",
            404: f"the Hub has no {self.kind} {self.repo}, or this token may not see it",
            413: "a file is too large for the Hub"
            + ("; push with a smaller --shard-mb" if self.kind == "dataset" else ""),
            429: "the Hub asks to wait, it was asked too often; push again in some minutes, what "
            "is uploaded stays there",
        }
        default = f"the Hub answered {status}; what is uploaded stays there, try again later"
        return ForgetmeError(words.get(status, default) + says)

    def _conflict(self, head: str) -> PushConflictError:
        return PushConflictError(
            f"somebody else changed {self.repo} during this push (it was at {self._head[:8]} and "
            f"is at {head[:8]}); nothing of yours was changed there. "
            f"Look at {self.url}/commits/main, then push again to put yours on top"
        )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _status(error: BaseException) -> int | None:
    for one in _chain(error):
        status = getattr(getattr(one, "response", None), "status_code", None)
        if status is not None:
            return int(status)
    return None


def _said(error: BaseException) -> str:
    """Returns the Hub's own words."""
    if isinstance(error, ValueError):  # what its library makes of a refused card
        return " ".join(str(error).split())
    found = (getattr(one, "server_message", None) for one in _chain(error))
    return next(filter(None, found), "")


def _dropped(error: BaseException) -> bool:
    """Tells whether there was no whole answer: refused, reset, closed, or too late."""
    return any(
        isinstance(one, (ConnectionError, TimeoutError)) or _is_transport(type(one))
        for one in _chain(error)
    )


def _is_transport(kind: type) -> bool:
    """Tells httpx's errors of the line; the Hub's library brings httpx or httpx2."""
    names = (f"{one.__module__}.{one.__name__}" for one in kind.__mro__)
    return any(_TRANSPORT.fullmatch(name) for name in names)


def _passing(error: BaseException) -> bool:
    """Tells whether the same call may work in a moment."""
    status = _status(error)
    return _dropped(error) if status is None else status == 429 or status >= 500


def _wait(error: BaseException, tried: int) -> float:
    """Returns how long the Hub asks to wait, else 1, 2, 4, 8 … seconds."""
    for one in _chain(error):
        asked = getattr(getattr(one, "response", None), "headers", {}).get("Retry-After", "")
        if asked.isdigit():
            return min(float(asked), MAX_WAIT_SECONDS)
    return min(2.0 ** (tried - 1), MAX_WAIT_SECONDS)
