"""Passwords as salted scrypt hashes, with their cost in front."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import unicodedata

from forgetme.errors import ForgetmeError

MIN_PASSWORD = 8  # characters
MAX_PASSWORD = 1000  # a longer one only costs time
_COST = {"n": 2**15, "r": 8, "p": 3}  # 32 MiB and about a third of a second
_MAXMEM = 64 * 2**20
_HASHING = threading.BoundedSemaphore(2)  # strangers who guess must not take all memory


def hash_password(password: str) -> str:
    """Returns a salted scrypt hash, with its cost in front.

    Raises:
        ForgetmeError: the password is too short or too long.
    """
    if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
        raise ForgetmeError(
            f"a password has {MIN_PASSWORD} to {MAX_PASSWORD} characters, got {len(password)}; "
            "take a few words"
        )
    salt = secrets.token_bytes(16)
    digest = _scrypt(password, salt, **_COST)
    cost = "$".join(str(_COST[name]) for name in ("n", "r", "p"))
    return f"scrypt${cost}${salt.hex()}${digest.hex()}"


def same_password(password: str, kept: str) -> bool:
    """Compares a password with a kept hash, in constant time."""
    _, n, r, p, salt, digest = kept.split("$")
    if len(password) > MAX_PASSWORD:
        return False
    found = _scrypt(password, bytes.fromhex(salt), n=int(n), r=int(r), p=int(p))
    return hmac.compare_digest(found, bytes.fromhex(digest))


def _scrypt(password: str, salt: bytes, *, n: int, r: int, p: int) -> bytes:
    # NFKC: the same word typed on another keyboard is the same password.
    data = unicodedata.normalize("NFKC", password).encode("utf-8", "surrogatepass")
    with _HASHING:
        return hashlib.scrypt(data, salt=salt, n=n, r=r, p=p, maxmem=_MAXMEM, dklen=32)


# What an unknown name is compared with: nobody's password, at the usual cost.
NOBODYS = f"scrypt${_COST['n']}${_COST['r']}${_COST['p']}${'00' * 16}${'00' * 32}"
