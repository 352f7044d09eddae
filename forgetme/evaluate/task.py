"""What kind of unlearning is judged, and which scores therefore say nothing.

The categories are our own scheme, made after IGMU's call for a hierarchy of tasks: the names of
theirs are not published.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Literal, get_args, get_type_hints

from forgetme.errors import ForgetmeError

SCHEME = "our own scheme, after IGMU's call for task categories"


@dataclass(frozen=True)
class Task:
    """A kind of unlearning.

    Attributes:
        family: what is forgotten.
        scope: "whole" = the subject itself goes; "part" = a feature of a subject that must stay.
        aim: erase it, or replace it by `anchor`.
        count: concepts at once, or one after the other.
        way: how the concept is asked for.
        anchor: what takes its place; "" = nothing.
    """

    family: Literal["object", "style", "identity", "other"] = "object"
    scope: Literal["whole", "part"] = "whole"
    aim: Literal["erase", "replace"] = "erase"
    count: Literal["one", "several", "sequence"] = "one"
    way: Literal["text", "image", "inpainting"] = "text"
    anchor: str = ""

    def __post_init__(self) -> None:
        """Refuses a word that no field knows, and a replacement by nothing."""
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                raise ForgetmeError(
                    f"a task's {name} is one of {', '.join(known)}, got {getattr(self, name)!r}"
                )
        if (self.aim == "replace") != bool(self.anchor):
            raise ForgetmeError(
                "a task that replaces names what takes the concept's place, and no other does: "
                "aim=replace,anchor=dog"
            )

    def not_shown(self) -> Mapping[str, str]:
        """Says of each score that means nothing for this task why."""
        why: dict[str, str] = {}
        if self.scope == "whole":
            why["csdr"] = "the whole subject goes; it is a score of features whose subject stays"
        if self.aim == "erase":
            why["replaced"] = "nothing was named that takes the concept's place"
        if self.family in ("style", "identity"):
            why["languages"] = "a name is the same word in every language"
        if self.way != "text":
            words = f"the concept is asked for by {self.way}; see the probes that do so"
            asked = ("still", "ua", "second", "replaced", "languages", "forgetting", "overall")
            why |= dict.fromkeys(asked, words)
        return why


CHOICES: Mapping[str, tuple[str, ...]] = {
    name: get_args(hint) for name, hint in get_type_hints(Task).items() if get_args(hint)
}


def task_of(text: str, **found: str) -> Task:
    """Reads "family=style,scope=part"; what it leaves out is as found, or as usual.

    Raises:
        ForgetmeError: it names no field, or no value of it.
    """
    known = [field.name for field in fields(Task)]
    given: dict[str, str] = dict(found)
    for part in filter(None, (one.strip() for one in text.split(","))):
        name, sign, value = part.partition("=")
        if not sign or name not in known:
            raise ForgetmeError(
                f"a task is said as family=style,scope=part with {', '.join(known)}; got {part!r}"
            )
        given[name] = value
    return Task(**given)
