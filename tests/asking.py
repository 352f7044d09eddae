"""A small picture to ask about, and a real client that asks the local server."""

from __future__ import annotations

import numpy as np
from disc_models import draw
from openai_server import KEY, OpenAIServer

from forgetme.record.masks import box_xywh
from forgetme.record.sample import Proposal
from forgetme.stages.verify import AskSettings, OpenAIVerifier

FAST = {"backoff_s": 0.01, "timeout_s": 5.0}


def proposal(mask: np.ndarray) -> Proposal:
    return Proposal(mask, box_xywh(mask), 0.9, 0.9, "test")


def cherry_scene() -> tuple[np.ndarray, Proposal, Proposal]:
    """A picture, the mask of its cherry, and the mask of its ground."""
    image, (cherry, lime) = draw(("cherry", 18, 30, 10), ("lime", 46, 34, 12))
    return image, proposal(cherry), proposal(~(cherry | lime))


def verifier(server: OpenAIServer, *, cache=None, key: str | None = KEY, **settings: object):
    """A verifier that talks to the local server and does not wait long."""
    return OpenAIVerifier(
        "gpt-4o",
        api_key=key,
        base_url=server.url,
        cache=cache,
        settings=AskSettings(**(FAST | settings)),
    )
