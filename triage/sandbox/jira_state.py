"""What the stand-in Jira knows: tickets, their comments, and what its search index has seen of them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

STATUSES = {"To Do": ("10000", "new"), "In Progress": ("10001", "indeterminate"), "Done": ("10002", "done")}
TRANSITIONS = {"11": "To Do", "21": "In Progress", "31": "Done"}
PRIORITIES = ("Highest", "High", "Medium", "Low", "Lowest")
COMPONENTS = ("CLI", "Dashboard", "Billing", "Builds")


@dataclass(slots=True)
class Comment:
    """A comment. `body` is as it was sent: a document or wiki text."""

    id: str
    author: str
    body: Any
    created: float
    updated: float = 0.0


@dataclass(slots=True)
class Ticket:
    """An issue. `id` never changes, `key` does when it is moved; `fields` holds what else was set at its creation."""

    id: str
    key: str
    project: str
    issue_type: str
    summary: str
    creator: str
    created: float
    updated: float
    description: Any = None
    labels: tuple[str, ...] = ()
    components: tuple[str, ...] = ()
    priority: str = "Medium"
    fields: dict[str, Any] = field(default_factory=dict)
    status: str = "To Do"
    resolution: str | None = None
    fix_versions: tuple[str, ...] = ()
    comments: list[Comment] = field(default_factory=list)

    @property
    def number(self) -> int:
        """The number in the key."""
        return int(self.key.rpartition("-")[2])


class Board:
    """All tickets of one Jira. Nothing here locks or writes: the server does both."""

    def __init__(self) -> None:
        self.tickets: dict[str, Ticket] = {}
        self.keys: dict[str, str] = {}  # every key that ever was, also those from before a move
        self.numbers: dict[str, int] = {}
        self.index: dict[str, list[tuple[float, Ticket]]] = {}
        self.last_id = 10_000

    def next_key(self, project: str) -> str:
        """The key of the next ticket; numbers are never used again."""
        return f"{project}-{self.numbers.get(project, 0) + 1}"

    def next_id(self) -> str:
        """The next id of a ticket or a comment."""
        return str(self.last_id + 1)

    def add(self, ticket: Ticket) -> None:
        """Take a ticket in."""
        self.tickets[ticket.id] = ticket
        self.last_id = max(self.last_id, int(ticket.id))
        self._name(ticket)
        self.changed(ticket, ticket.created)

    def rename(self, ticket: Ticket, key: str) -> None:
        """Move a ticket; the old key goes on leading to it."""
        ticket.key, ticket.project = key, key.rpartition("-")[0]
        self._name(ticket)

    def _name(self, ticket: Ticket) -> None:
        self.keys[ticket.key.upper()] = ticket.id
        self.numbers[ticket.project] = max(self.numbers.get(ticket.project, 0), ticket.number)

    def changed(self, ticket: Ticket, at: float) -> None:
        """Tell the index; it shows the change after its lag."""
        ticket.updated = at
        self.index.setdefault(ticket.id, []).append((at, replace(ticket)))

    def remove(self, ticket_id: str) -> None:
        """Delete a ticket: by key, by id and in the index it is gone."""
        del self.tickets[ticket_id]
        del self.index[ticket_id]

    def find(self, key_or_id: str) -> Ticket | None:
        """A ticket by its id, its key, or a key that it once had."""
        return self.tickets.get(self.keys.get(key_or_id.upper(), key_or_id))

    def indexed(self, until: float, certain: set[str]) -> list[tuple[Ticket, Ticket]]:
        """What the index shows of each ticket (as it was at `until`), and the ticket as it is. Those in `certain` show as they are."""
        found = []
        for ticket_id, versions in self.index.items():
            ticket = self.tickets[ticket_id]
            if ticket_id in certain:
                found.append((ticket, ticket))
                continue
            seen = [version for at, version in versions if at <= until]
            if seen:
                found.append((seen[-1], ticket))
        return found
