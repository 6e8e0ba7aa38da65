"""Every error of ours, sorted by what the caller must do.

TriageError
├── UserError              show it to the person: it ends with the next step
│   ├── Missing            there is no such thing
│   ├── ConfigError        a file, a key or a secret is wrong; names file and line
│   ├── StoreError         the database is locked, full, newer than the program, or in use
│   └── ModelError         the model is missing, tampered with, or does not match its card
├── ItemError              set this one item aside (quarantine), go on with the others
└── RemoteError            the far side; `account` names it
    ├── NotAccepted        proved not accepted: plan it again, after `after` seconds
    │   ├── Unauthorized   and pause the account: its token or rights are wrong
    │   ├── RateLimited    and leave the account alone for `after` seconds
    │   └── TooLate        we waited too long between intent and first byte, and sent nothing
    ├── Refused            not accepted and never will be as it is: a person looks
    │   └── Gone           the thing that we asked for does not exist (any more)
    └── OutcomeUnknown     it may have happened: look before anything else (doubt)
"""

from __future__ import annotations


class TriageError(Exception):
    """The root. `str(error)` is one line, free of secrets, fit to be shown and stored."""


class UserError(TriageError):
    """A person can mend this; the message ends with the next step. The CLI prints it without a traceback."""


class Missing(UserError):
    """There is no such thing."""


class ConfigError(UserError):
    """The configuration can't be used."""


class StoreError(UserError):
    """The database can't be used now."""


class ModelError(UserError):
    """The classifier's files can't be used."""


class ItemError(TriageError):
    """One item can't be read; the others can."""


class RemoteError(TriageError):
    """The far side did not do what we asked. `status` is the HTTP status if there was an answer."""

    down = False
    """Whether the whole server seems to be away: no connection, a cut one, no answer in time, a 5xx."""

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class NotAccepted(RemoteError):
    """Proved not accepted. `after` is the number of seconds to wait, None where nobody said."""

    def __init__(self, message: str, *, status: int | None = None, after: float | None = None) -> None:
        super().__init__(message, status=status)
        self.after = after


class Unauthorized(NotAccepted):
    """401 or 403: the token is wrong, revoked, or lacks a right."""


class RateLimited(NotAccepted):
    """429: too many requests. `limit` names the limit that is spent where it is not the one on all requests (`budget.POSTS`)."""

    limit = ""


class TooLate(NotAccepted):
    """More than two seconds lay between intent and first byte; nothing was sent."""


class Refused(RemoteError):
    """400, 404, 410, 413, 422 and their like: not accepted, and repeating it as it is won't help."""


class Gone(Refused):
    """404 or 410: not there. `proven` is False where a page stood in place of an answer, which may be anybody's."""

    def __init__(self, message: str, *, status: int | None = None, proven: bool = True) -> None:
        super().__init__(message, status=status)
        self.proven = proven


class OutcomeUnknown(RemoteError):
    """A cut connection, a time-out after the first byte, a 5xx, or an answer that can't be read."""
