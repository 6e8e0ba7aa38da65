"""Passwords: argon2id, with the costs that the library recommends."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from triage.errors import UserError

if TYPE_CHECKING:
    from pwdlib import PasswordHash

LEAST = 10
LONGEST = 1024  # a hash of megabytes would be work for nothing


@cache
def _hasher() -> PasswordHash:
    from pwdlib import PasswordHash

    return PasswordHash.recommended()


def hashed(password: str, *names: str) -> str:
    """The hash of a new password. `UserError` when it is too short or too long, or is one of `names`, which everybody knows."""
    if not LEAST <= len(password) <= LONGEST:
        raise UserError(f"a password has {LEAST} to {LONGEST} characters; a sentence is easy to remember")
    if password.casefold() in {name.casefold() for name in names} or len(set(password)) < 4:
        raise UserError("this password is too easy to guess; take a sentence")
    return _hasher().hash(password)


def matches(password: str, kept: str) -> bool:
    """Whether it is the password. Takes as long where there is none (`kept` is empty), so that nobody learns which names exist."""
    if len(password) > LONGEST:
        return False
    spare = _nobody()  # made at the first call, whoever is asked for
    return _hasher().verify(password, kept or spare) and bool(kept)


@cache
def _nobody() -> str:
    return _hasher().hash("nobody has this password")
