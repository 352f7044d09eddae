"""Checks URLs and proxies that people and the environment name."""

from __future__ import annotations

import importlib.util
import urllib.request
from urllib.parse import urlsplit

from forgetme.errors import MissingModelError

_KNOWN = ("http", "https", "socks5", "socks5h")


def check_proxies() -> None:
    """Looks at ALL_PROXY, HTTPS_PROXY and HTTP_PROXY before a library trips over them.

    Raises:
        MissingModelError: one is of a kind that cannot be used; the message says what to do.
    """
    for kind, url in urllib.request.getproxies().items():
        if kind not in ("all", "http", "https"):
            continue
        scheme = url.partition("://")[0].lower() if "://" in url else "http"
        name, place = f"{kind.upper()}_PROXY", shown_url(url)
        if scheme not in _KNOWN:
            raise MissingModelError(
                f"{name}={place} is a proxy of an unknown kind; write it as socks5://HOST:PORT or "
                f"http://HOST:PORT, or unset {name}"
            )
        if scheme.startswith("socks") and importlib.util.find_spec("socksio") is None:
            raise MissingModelError(
                f"{name}={place} is a SOCKS proxy, which needs another package: pip install "
                f"socksio; or unset {name}"
            )


def check_url(base_url: str | None) -> None:
    """Refuses an address that is none.

    Raises:
        MissingModelError: it is not http(s)://HOST….
    """
    if base_url is None:
        return
    try:
        parts = urlsplit(base_url)
        right = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number
        right = False
    if not right or not base_url.isprintable():
        raise MissingModelError(
            "OPENAI_BASE_URL must be an address such as http://127.0.0.1:11434/v1, got "
            f"{base_url[:200]!r}; correct or unset it"
        )


def shown_url(url: str) -> str:
    """Writes an address without the password and the query that may hold a key."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"[:200]
