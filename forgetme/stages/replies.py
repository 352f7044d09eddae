"""Parses chat completions of OpenAI-compatible servers into checked JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, Field, ValidationError

Answer = TypeVar("Answer")

LONGEST = 100_000  # characters of an answer
MOST = 50  # places in a text where an answer may begin
SHOWN = 300  # characters of a server's words

_THOUGHT_END = re.compile(r"</(?:think|thinking|reasoning)>", re.IGNORECASE)


class MalformedError(Exception):
    """The server answered, but not what was asked; another try may help."""


class RefusedError(Exception):
    """The server said no, in its own words.

    Attributes:
        words: what it said.
        status: the HTTP status, or the code of an error inside a good one; 0 = none.
        code: the server's name for it, "" where it gave none.
    """

    def __init__(self, words: str, status: int = 0, code: str = "") -> None:
        """Keeps what was said."""
        super().__init__(words)
        self.words, self.status, self.code = words, status, code


def _joined(content: Any) -> Any:
    """Makes one text of content that comes as parts."""
    if not isinstance(content, list):
        return content
    texts = [part.get("text") if isinstance(part, dict) else part for part in content]
    return "".join(text for text in texts if isinstance(text, str))


def _count(value: Any) -> int | None:
    """Takes a number of tokens; what is none is nothing known."""
    return value if type(value) is int and 0 <= value < 2**53 else None


Text = Annotated[Annotated[str, Field(max_length=LONGEST)] | None, BeforeValidator(_joined)]
Count = Annotated[int | None, BeforeValidator(_count)]


class _Message(BaseModel):
    content: Text = None
    refusal: Text = None


class _Choice(BaseModel):
    message: _Message | None = None
    finish_reason: Any = None


class _Usage(BaseModel):
    total_tokens: Count = None
    prompt_tokens: Count = None
    completion_tokens: Count = None

    @property
    def tokens(self) -> int | None:
        if self.total_tokens is not None:
            return self.total_tokens
        parts = (self.prompt_tokens, self.completion_tokens)
        return None if None in parts else sum(parts)


class _Reply(BaseModel):
    choices: Annotated[list[_Choice] | None, Field(max_length=100)] = None
    usage: Any = None
    error: Any = None


class Reply:
    """A chat completion: the tokens that it cost, and the answer in it."""

    def __init__(self, body: str) -> None:
        """Parses a body.

        Raises:
            RefusedError: it is an error inside HTTP 200.
            MalformedError: it is no chat completion.
        """
        try:
            self._reply = _Reply.model_validate_json(body)
        except ValidationError as error:
            raise MalformedError(f"not a chat completion ({_why(error)}): {shown(body)}") from None
        if self._reply.error:
            raise refused(body, 200)
        if not self._reply.choices or self._reply.choices[0].message is None:
            raise MalformedError(f"not a chat completion: {shown(body)}")

    @property
    def tokens(self) -> int | None:
        """The tokens that it cost; None where the server does not say."""
        try:
            return _Usage.model_validate(self._reply.usage).tokens
        except ValidationError:
            return None

    def answer(self, read: Callable[[Any], Answer]) -> Answer:
        """Finds the one answer in the model's text.

        Args:
            read: turns a value of JSON into the answer; KeyError, TypeError and ValueError mean
                that it is none.

        Raises:
            RefusedError: the server cut the answer off or held it back; the same question ends so
                again.
            MalformedError: there is no answer, or several that differ.
        """
        choice = self._reply.choices[0]
        if choice.finish_reason == "content_filter":
            raise RefusedError("the server's filter held the answer back (content_filter)")
        if choice.message.refusal:
            raise MalformedError(f"the model refused: {shown(choice.message.refusal)}")
        text = choice.message.content or ""
        try:
            return _only(text, read)
        except MalformedError:
            if choice.finish_reason == "length":
                raise RefusedError(
                    "the answer was cut off at the server's limit of tokens (finish_reason "
                    f"length): {shown(text)}"
                ) from None
            raise


def _only(text: str, read: Callable[[Any], Answer]) -> Answer:
    found: list[Answer] = []
    problem = "no JSON is in it"
    for value in _values(text):
        try:
            answer = read(value)
        except ValidationError as error:
            problem = _why(error)
        except (ValueError, KeyError, TypeError) as error:
            problem = str(error)
        else:
            found += [answer] if answer not in found else []
    if len(found) == 1:
        return found[0]
    problem = f"{len(found)} different answers" if found else problem
    raise MalformedError(f"not what was asked for ({problem}): {shown(text)}")


def _values(text: str) -> list[Any]:
    """Lists the JSON in a text: all of it, objects among prose or thoughts, or its one word."""
    text = _THOUGHT_END.split(text)[-1].strip()
    decoder, found, place = json.JSONDecoder(), [], 0
    try:
        return [json.loads(text)]
    except (ValueError, RecursionError):
        pass
    for _ in range(MOST):
        place = text.find("{", place)
        if place < 0:
            break
        try:
            value, place = decoder.raw_decode(text, place)
            found.append(value)
        except (ValueError, RecursionError):
            place += 1
    return found or ([text] if text and " " not in text else [])


def refused(body: str, status: int) -> RefusedError:
    """Makes an error of a server's body, in its own words."""
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return RefusedError(shown(body), status)
    error = said.get("error") if isinstance(said, dict) else None
    holder = error if isinstance(error, dict) else said if isinstance(said, dict) else {}
    words = error if isinstance(error, str) else None
    for key in ("message", "detail", "msg"):
        words = words or holder.get(key)
    code = holder.get("code")
    if status == 200 and type(code) is int:
        status = code
    return RefusedError(shown(words or said), status, code if isinstance(code, str) else "")


def shown(words: Any) -> str:
    """Writes what a server said as one short printable line."""
    text = words if isinstance(words, str) else json.dumps(words, ensure_ascii=False, default=str)
    line = " ".join(text[: 20 * SHOWN].split())
    line = "".join(char for char in line if char.isprintable())
    return line if len(line) <= SHOWN else line[:SHOWN] + "…"


def _why(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    return f"{place}: {first['msg']}" if place else first["msg"]
