"""Asks a model behind any OpenAI-compatible server, within limits of time, bytes and money."""

from __future__ import annotations

import base64
import email.utils
import json
import logging
import math
import random
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np

from forgetme.errors import MissingModelError, VerifierError
from forgetme.record.images import png_bytes
from forgetme.stages.addresses import check_proxies, check_url, shown_url
from forgetme.stages.bounded import BoundedClient, TooMuchError
from forgetme.stages.replies import MalformedError, RefusedError, Reply, refused, shown
from forgetme.stages.secret import Secret

if TYPE_CHECKING:
    import openai

log = logging.getLogger(__name__)

Answer = TypeVar("Answer")

MOST_BYTES = 4 * 2**20  # of one answer
LASTING = ("insufficient_quota", "content_filter", "context_length_exceeded", "model_not_found")


@dataclass(frozen=True)
class AskSettings:
    """How a server is asked, and how much may be spent."""

    timeout_s: float = 30.0  # for one request, to the end of its answer
    tries: int = 5  # requests for one answer that failed
    backoff_s: float = 0.5  # wait before the first retry, doubled each time, shortened by chance
    max_wait_s: float = 60.0  # a server that asks to wait longer has said no
    max_calls: int | None = None  # requests in all, retries included: a timed-out one may cost too
    max_tokens: int | None = None  # tokens in all, as the server counts them
    crop_side: int = 512  # longer side of the picture sent, pixels


@dataclass(frozen=True)
class Way:
    """What of OpenAI's chat API a server takes."""

    format: Literal["json_schema", "json_object", None] = "json_schema"
    system: bool = True  # a message of the role "system"
    detail: bool = True  # how closely a picture is to be looked at
    temperature: bool = True

    def easier(self, words: str) -> Way | None:
        """Leaves out what a server's refusal names; None where it names nothing that is left."""
        if self.temperature and re.search(r"temperature", words, re.I):
            return replace(self, temperature=False)
        if self.detail and re.search(r"\bdetail\b", words, re.I):
            return replace(self, detail=False)
        if self.system and _NAMES_SYSTEM.search(words):
            return replace(self, system=False)
        if self.format is not None and _NAMES_FORMAT.search(words):
            return replace(self, format="json_object" if self.format == "json_schema" else None)
        return None


PLAIN = Way(None, False, False, False)
_NAMES_SYSTEM = re.compile(
    r"system[ _'\"]*(role|message|prompt|instruction)|role\W+(\w+\W+){0,4}system|"
    r"roles must alternate",
    re.I,
)
_NAMES_FORMAT = re.compile(
    r"response[_ ]format|json[_ ](schema|object|mode)|structured output|guided|grammar|schema", re.I
)


class ChatClient:
    """Asks one model of one server; safe to call from several threads.

    Attributes:
        made_by: the model's name at the server.
        calls: requests sent.
        tokens: tokens spent, as far as the server says.
        way: what the server takes, as far as it is known.
    """

    def __init__(
        self,
        model: str,
        *,
        api_key: str | None,
        base_url: str | None = None,
        settings: AskSettings = AskSettings(),  # noqa: B008 (frozen)
    ) -> None:
        """Makes a client; sends nothing yet.

        Args:
            model: the model's name at the server.
            api_key: never logged, never stored; None is for servers of your own without a key.
            base_url: the server's address up to "/v1"; None = OpenAI's.
            settings: time and spending limits.

        Raises:
            MissingModelError: OpenAI's own server and no key, or a key, an address or a proxy that
                cannot be used.
        """
        self._key = Secret(api_key)
        base_url = (base_url or "").strip() or None
        if not self._key and base_url is None:
            raise MissingModelError(
                f"{model} needs a key: set OPENAI_API_KEY (and OPENAI_BASE_URL for another "
                "server), or use the verifier 'clip'"
            )
        check_url(base_url)
        check_proxies()
        import openai

        self.made_by = model
        self.settings = settings
        self.calls = 0
        self.tokens = 0
        self.way = Way()
        self._answered = False  # the way is known to work
        self._lock = threading.Lock()
        # The client's own retries are off: they would not count towards the spend cap.
        self._client = openai.OpenAI(
            api_key=self._key.value or "none",
            base_url=base_url,
            max_retries=0,
            http_client=BoundedClient(most_bytes=MOST_BYTES, seconds=settings.timeout_s),
        )
        self.server = shown_url(str(self._client.base_url))

    def ask(
        self,
        question: str,
        picture: np.ndarray | None,
        instructions: str,
        answer_format: dict[str, Any],
        read: Callable[[Any], Answer],
        *,
        temperature: float = 0.0,
    ) -> Answer:
        """Sends a question until there is a usable answer, or no hope for one.

        A server that does not take JSON schemas, a system role, a picture's detail or a
        temperature is asked without; what it takes is kept for the next question.

        Args:
            question: what to answer.
            picture: what it is about, (H, W, 3) uint8 RGB, sent as it is; or None.
            instructions: how to answer.
            answer_format: the JSON schema of the answer, as the chat API takes it.
            read: turns the answer into a value; KeyError, TypeError and ValueError mean that it
                cannot be used.
            temperature: 0 = the likeliest answer; higher = more varied ones.

        Raises:
            VerifierError: no usable answer after the retries, or the spend cap is reached.
        """
        asked = _Question(question, picture, instructions, answer_format, temperature)
        way, first, sent, failed, malformed = self.way, None, 0, 0, 0
        while True:
            wait, sent = 0.0, sent + 1
            try:
                answer = self._send(asked.request(self.made_by, way)).answer(read)
                self._learn(way)
                return answer
            except MalformedError as error:
                problem, malformed = f"unusable answer: {error}", malformed + 1
            except _LaterError as error:
                easier = way.easier(error.words) if error.status in (500, 501) else None
                if easier is not None:
                    way = easier
                    continue
                problem = error.words
                wait = self._wait(failed, error.headers)
            except RefusedError as error:
                first = first or error
                easier = self._easier(way, error)
                if easier is None:
                    raise VerifierError(f"{self.made_by}: {self._explain(first)}") from None
                way = easier
                continue
            failed += 1
            if malformed == 2 or failed == self.settings.tries:
                break
            log.warning("%s: %s; asking again in %.1f s", self.made_by, problem, wait)
            time.sleep(wait)
        raise VerifierError(
            f"{self.made_by} gave no verdict after {sent} requests; last: {problem}. Check the "
            "server, or decide by hand"
        )

    def _easier(self, way: Way, error: RefusedError) -> Way | None:
        """Chooses how to ask a server that did not take a request; None = it is no use."""
        if error.status not in (400, 404, 415, 422) or error.code in LASTING:
            return None
        named = way.easier(error.words)
        if named is None and error.status in (400, 422) and not self._answered and way != PLAIN:
            return PLAIN  # it does not say what it minds
        return named

    def _learn(self, way: Way) -> None:
        with self._lock:
            self.way, self._answered = way, True

    def _send(self, request: dict[str, Any]) -> Reply:
        """Sends one request and counts its cost.

        Raises:
            RefusedError: the server said no.
            _LaterError: it may say yes later.
            MalformedError: its answer is no chat completion.
            VerifierError: it sends elsewhere, or the spend cap is reached.
        """
        import openai

        self._spend_call()
        try:
            raw = self._client.chat.completions.with_raw_response.create(**request)
        except openai.APIStatusError as error:
            self._refuse(error)
        except openai.APITimeoutError:
            raise _LaterError(f"no answer within {self.settings.timeout_s:g} s") from None
        except openai.APIConnectionError as error:
            why = self._key.hide(str(error.__cause__ or error))
            raise _LaterError(f"no connection to {self.server} ({shown(why)})") from None
        except TooMuchError as error:
            raise RefusedError(str(error)) from None
        try:
            reply = Reply(self._text(raw.content))
        except RefusedError as error:  # inside HTTP 200
            raise _sorted(error, raw.headers) from None
        self._spend_tokens(reply.tokens)
        return reply

    def _text(self, body: bytes) -> str:
        """Decodes what came; whatever a server says back, the key is not in it any more."""
        return self._key.hide(body.decode("utf-8", "replace"))

    def _refuse(self, error: openai.APIStatusError) -> None:
        status = error.status_code
        said = refused(self._text(error.response.content), status)
        if 300 <= status < 400:
            place = shown_url(error.response.headers.get("location", ""))
            raise VerifierError(
                f"{self.made_by}: {self.server} sends on to {self._key.hide(place)!r} (HTTP "
                f"{status}), where nothing was sent; if you trust that address, set "
                "OPENAI_BASE_URL to it"
            ) from None
        raise _sorted(said, error.response.headers) from None

    def _explain(self, error: RefusedError) -> str:
        if error.status in (401, 403):
            return (
                f"the key was refused (HTTP {error.status}); check OPENAI_API_KEY. The server "
                f"says: {error.words}"
            )
        return f"HTTP {error.status}: {error.words}" if error.status else error.words

    def _spend_call(self) -> None:
        """Counts a request before it is sent, so that threads together keep the cap."""
        limits = self.settings
        with self._lock:
            calls_left = limits.max_calls is None or self.calls < limits.max_calls
            tokens_left = limits.max_tokens is None or self.tokens < limits.max_tokens
            if not (calls_left and tokens_left):
                raise VerifierError(
                    f"spend cap of {self.made_by} reached: {self.calls} requests (cap "
                    f"{limits.max_calls or 'none'}), {self.tokens} tokens (cap "
                    f"{limits.max_tokens or 'none'}); raise the cap, or decide by hand"
                )
            self.calls += 1

    def _spend_tokens(self, tokens: int | None) -> None:
        if tokens is None and self.settings.max_tokens is not None:
            raise VerifierError(
                f"{self.made_by} does not report the tokens it used, so max_tokens cannot be kept; "
                "cap max_calls instead"
            )
        with self._lock:
            self.tokens += tokens or 0

    def _wait(self, attempt: int, headers: Mapping[str, str]) -> float:
        """Seconds to the next try: what the server asks for, else a growing, random while."""
        asked = _retry_after(headers)
        if asked is None:
            longest = min(self.settings.backoff_s * 2**attempt, self.settings.max_wait_s)
            return longest * random.uniform(0.5, 1)
        if asked > self.settings.max_wait_s:
            raise VerifierError(
                f"{self.made_by} asks to wait {asked:.0f} s, longer than the "
                f"{self.settings.max_wait_s:g} s allowed; try again later"
            )
        return asked


@dataclass(frozen=True)
class _Question:
    """What is asked, before it takes the form that a server understands."""

    question: str
    picture: np.ndarray | None
    instructions: str
    answer_format: dict[str, Any]
    temperature: float

    def request(self, model: str, way: Way) -> dict[str, Any]:
        """Writes the request of the chat API."""
        schema = json.dumps(self.answer_format["json_schema"]["schema"]["properties"])
        instructions = (
            f"{self.instructions} Answer with one JSON object and no other text: {schema}"
        )
        words = self.question if way.system else f"{instructions}\n\n{self.question}"
        content: str | list[dict[str, Any]] = words
        if self.picture is not None:
            url = "data:image/png;base64," + base64.b64encode(png_bytes(self.picture)).decode()
            seen = {"url": url} | ({"detail": "low"} if way.detail else {})
            content = [{"type": "text", "text": words}, {"type": "image_url", "image_url": seen}]
        messages = [{"role": "user", "content": content}]
        if way.system:
            messages.insert(0, {"role": "system", "content": instructions})
        request: dict[str, Any] = {"model": model, "messages": messages}
        if way.format == "json_schema":
            request["response_format"] = self.answer_format
        elif way.format == "json_object":
            request["response_format"] = {"type": "json_object"}
        return request | ({"temperature": self.temperature} if way.temperature else {})


class _LaterError(Exception):
    """A failure that may pass by itself."""

    def __init__(
        self,
        words: str,
        status: int = 0,
        headers: Mapping[str, str] = {},  # noqa: B006 (read only)
    ) -> None:
        super().__init__(words)
        self.words, self.status, self.headers = words, status, headers


def _sorted(error: RefusedError, headers: Mapping[str, str]) -> RefusedError | _LaterError:
    """Tells a failure that may pass from one that lasts; a used-up quota is a 429 that does."""
    later = error.status in (408, 409, 429) or error.status >= 500
    if later and error.code not in LASTING:
        return _LaterError(f"HTTP {error.status}: {error.words}", error.status, headers)
    return error


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the server asks to wait, from a number or a date; None if it does not say."""
    readers: tuple[tuple[str, Callable[[str], float]], ...] = (
        ("retry-after-ms", lambda text: float(text) / 1000),
        ("retry-after", float),
        (
            "retry-after",
            lambda text: email.utils.parsedate_to_datetime(text).timestamp() - time.time(),
        ),
    )
    for name, read in readers:
        try:
            seconds = read(headers.get(name, ""))
        except ValueError:
            continue
        if math.isfinite(seconds):
            return max(0.0, seconds)
    return None
