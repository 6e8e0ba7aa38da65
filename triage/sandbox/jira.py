"""A stand-in for a Jira: Cloud or Data Center, with knobs for what installations differ in."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo

from triage.sandbox import pages
from triage.sandbox.http import Rejected, Reply, Request, Server
from triage.sandbox.jira_api import Api
from triage.sandbox.jira_state import COMPONENTS, PRIORITIES, Board, Comment, Ticket

PERMISSIONS = ("BROWSE_PROJECTS", "CREATE_ISSUES", "ADD_COMMENTS", "TRANSITION_ISSUES", "EDIT_ISSUES", "EDIT_OWN_COMMENTS")
OPEN_ROUTES = ("/rest/api/2/serverInfo", "/rest/api/3/serverInfo", "/rest/api/latest/serverInfo")


@dataclass(slots=True)
class Knobs:
    """How the server behaves; change them while it runs.

    `search_lag` is how many seconds the search index is behind, or "never". Without `labels_on_screen` a ticket with
    labels is refused; with `drop_labels` it is made without them. `custom_fields` maps an id to string, number or option.
    `skew` is how many seconds the server's clock is ahead. `locked` are fields that are not on the edit screen. An account with the
    permission ADMINISTER_PROJECTS may change things without telling those who watch.
    """

    search_lag: float | Literal["never"] = 0.0
    labels_on_screen: bool = True
    drop_labels: bool = False
    page_size: int = 100
    permissions: set[str] = field(default_factory=lambda: set(PERMISSIONS))
    issue_types: list[str] = field(default_factory=lambda: ["Bug", "Task", "Story"])
    projects: list[str] = field(default_factory=lambda: ["QUAY", "OPS"])
    custom_fields: dict[str, str] = field(default_factory=lambda: {"customfield_10010": "string"})
    time_zone: str = "Etc/UTC"
    skew: float = 0.0
    locked: list[str] = field(default_factory=list)

    def change(self, **values: Any) -> None:
        """Set several by name. `ValueError` for an unknown name."""
        for name, value in values.items():
            if name not in {one.name for one in fields(self)}:
                raise ValueError(f"there is no knob {name!r}")
            setattr(self, name, set(value) if name == "permissions" else value)


class JiraServer(Server):
    """The server. Cloud wants Basic (`email`, `token`), Data Center wants the token as Bearer.

    Ledger kinds: `token`, `ticket`, `comment`, `change` (status, resolution, fix versions), `edit` (of a ticket), `comment_edit`, `move`,
    `delete`. An edit's `told` says whether those who watch were.
    """

    name = "jira"

    def __init__(self, folder: Path, *, port: int = 0, flavour: Literal["cloud", "data_center"] = "cloud") -> None:
        super().__init__(folder, port=port)
        self.is_cloud = flavour == "cloud"
        self.knobs = Knobs()
        self.board = Board()
        self.email = "triage-bot@people.example"
        self.user = "712020:5eed-b07" if self.is_cloud else "triage-bot"
        self.token = ""
        for entry in self.ledger.entries():
            self._apply(entry)
        if not self.token:
            self._accept("token", token=f"jira-{secrets.token_hex(16)}")
        self._api = Api(self)
        self.route("GET", "/", lambda request: pages.jira_home(self))
        self.route("GET", "/browse/(?P<key>[^/]+)", lambda request: pages.jira_ticket(self, request.groups["key"]))
        for verb in ("resolve", "move", "delete", "status", "knobs"):
            self.route("POST", f"/_sandbox/{verb}", self._steer)

    @property
    def tickets(self) -> list[Ticket]:
        """The tickets that there are, oldest first."""
        return list(self.board.tickets.values())

    @property
    def zone(self) -> ZoneInfo:
        """The server's time zone."""
        return ZoneInfo(self.knobs.time_zone)

    def now(self) -> float:
        """The server's clock."""
        return super().now() + self.knobs.skew

    def ticket(self, key_or_id: str) -> Ticket:
        """A ticket; `KeyError` when there is none."""
        found = self.board.find(key_or_id)
        if found is None:
            raise KeyError(key_or_id)
        return found

    def project_id(self, key: str) -> str:
        """A project's number."""
        return str(20_000 + self.knobs.projects.index(key)) if key in self.knobs.projects else "20099"

    def screen(self) -> list[str]:
        """The fields of the create screen."""
        labels = ["labels"] if self.knobs.labels_on_screen else []
        return [
            "project",
            "issuetype",
            "summary",
            "description",
            *labels,
            "components",
            "priority",
            "environment",
            *self.knobs.custom_fields,
        ]

    def add_ticket(
        self, project: str, summary: str, *, creator: str = "somebody", labels: Sequence[str] = (), description: Any = None
    ) -> Ticket:
        """Somebody else files a ticket."""
        with self.lock:
            return self._file(
                creator, project, self.knobs.issue_types[0], {"summary": summary, "labels": list(labels), "description": description}
            )

    def add_comment(self, key: str, text: str, *, author: str = "somebody") -> Comment:
        """Somebody else comments."""
        with self.lock:
            return self._comment(self.ticket(key), text, author)

    def edit(self, key: str, **values: Any) -> None:
        """Somebody else changes a ticket's `summary` or `description`."""
        with self.lock:
            self.ticket_changed(self.ticket(key), values, told=True)

    def set_status(self, key: str, status: str) -> None:
        """A ticket goes to another status; leaving `Done` takes the resolution away."""
        with self.lock:
            resolution = "Done" if status == "Done" else None
            self._accept("change", id=self.ticket(key).id, changed_at=self.now(), status=status, resolution=resolution)

    def resolve(self, key: str, resolution: str = "Done", fix_versions: Sequence[str] = ()) -> None:
        """A ticket is resolved."""
        with self.lock:
            change = {"status": "Done", "resolution": resolution, "fix_versions": list(fix_versions)}
            self._accept("change", id=self.ticket(key).id, changed_at=self.now(), **change)

    def move(self, key: str, new_key: str) -> None:
        """A ticket gets another key, perhaps in another project."""
        with self.lock:
            self._accept("move", id=self.ticket(key).id, changed_at=self.now(), key=new_key)

    def delete(self, key: str) -> None:
        """A ticket is deleted."""
        with self.lock:
            self._accept("delete", id=self.ticket(key).id)

    def ticket_made(self, project: str, issue_type: str, values: Mapping[str, Any]) -> Ticket:
        """A ticket came in through the API."""
        return self._file(self.user, project, issue_type, values)

    def comment_made(self, ticket: Ticket, body: Any) -> Comment:
        """A comment came in through the API."""
        return self._comment(ticket, body, self.user)

    def ticket_changed(self, ticket: Ticket, values: Mapping[str, Any], *, told: bool) -> None:
        """Fields of a ticket were set."""
        self._accept("edit", id=ticket.id, changed_at=self.now(), values=dict(values), told=told)

    def comment_changed(self, ticket: Ticket, comment: Comment, body: Any, *, told: bool) -> None:
        """A comment was written anew."""
        self._accept("comment_edit", id=comment.id, issue=ticket.id, changed_at=self.now(), body=body, told=told)

    def _file(self, creator: str, project: str, issue_type: str, values: Mapping[str, Any]) -> Ticket:
        ticket_id = self.board.next_id()
        named = {"project", "issuetype", "summary", "description", "labels", "components", "priority"}
        self._accept(
            "ticket",
            id=ticket_id,
            key=self.board.next_key(project),
            project=project,
            issue_type=issue_type,
            summary=values["summary"].strip(),
            description=values.get("description"),
            labels=[] if self.knobs.drop_labels else list(values.get("labels") or ()),
            components=[_name(one, COMPONENTS) for one in values.get("components") or ()],
            priority=_name(values.get("priority") or {"name": "Medium"}, PRIORITIES),
            fields={name: value for name, value in values.items() if name not in named},
            creator=creator,
            created=self.now(),
        )
        return self.board.tickets[ticket_id]

    def _comment(self, ticket: Ticket, body: Any, author: str) -> Comment:
        self._accept("comment", id=self.board.next_id(), issue=ticket.id, key=ticket.key, body=body, author=author, created=self.now())
        return ticket.comments[-1]

    def before(self, request: Request) -> None:
        """Everything but `serverInfo` and the pages for people wants a log-in."""
        if request.path.startswith("/rest/") and request.path not in OPEN_ROUTES:
            self._api.authorize(request)

    def unauthorized(self) -> Reply:
        """A bad log-in."""
        return Reply({"message": "Client must be authenticated to access this resource.", "status-code": 401}, 401)

    def not_found(self, request: Request) -> Reply:
        """What is not there."""
        return Reply({"errorMessages": ["Nothing is here."], "errors": {}}, 404)

    def _steer(self, request: Request) -> Any:
        """Resolve, move, delete, set a status and turn knobs from another process."""
        verb, body = request.path.rpartition("/")[2], request.json()
        verbs: dict[str, Callable[..., None]] = {
            "resolve": self.resolve,
            "move": self.move,
            "delete": self.delete,
            "status": self.set_status,
            "knobs": self.knobs.change,
        }
        try:
            verbs[verb](**body)
        except (KeyError, TypeError, ValueError) as error:
            raise Rejected(400, {"error": f"{type(error).__name__}: {error}"}) from None
        return {}

    def _accept(self, kind: str, **data: Any) -> None:
        self._apply(self.ledger.append(kind, **data))

    def _apply(self, entry: Mapping[str, Any]) -> None:
        """What an entry of the ledger means for the state; the only way in which the state changes."""
        kind = entry["kind"]
        if kind == "token":
            self.token = entry["token"]
        elif kind == "ticket":
            names = ("id", "key", "project", "issue_type", "summary", "creator", "created", "description", "priority")
            values: dict[str, Any] = {name: entry[name] for name in names}
            values |= {name: tuple(entry[name]) for name in ("labels", "components")}
            self.board.add(Ticket(**values, updated=entry["created"], fields=dict(entry["fields"])))
        elif kind == "comment":
            ticket = self.board.tickets[entry["issue"]]
            ticket.comments.append(Comment(entry["id"], entry["author"], entry["body"], entry["created"]))
            self.board.last_id = max(self.board.last_id, int(entry["id"]))
            self.board.changed(ticket, entry["created"])
        elif kind == "comment_edit":
            ticket = self.board.tickets[entry["issue"]]
            comment = next(one for one in ticket.comments if one.id == entry["id"])
            comment.body, comment.updated = entry["body"], entry["changed_at"]
            self.board.changed(ticket, entry["changed_at"])
        elif kind == "delete":
            self.board.remove(entry["id"])
        else:
            ticket = self.board.tickets[entry["id"]]
            if kind == "move":
                self.board.rename(ticket, entry["key"])
            elif kind == "edit":
                for name, value in entry["values"].items():
                    setattr(ticket, name, value)
            else:
                ticket.status, ticket.resolution = entry["status"], entry["resolution"]
                ticket.fix_versions = tuple(entry.get("fix_versions", ticket.fix_versions))
            self.board.changed(ticket, entry["changed_at"])


def _name(reference: Mapping[str, Any], names: tuple[str, ...]) -> str:
    """The name that a reference by name or number stands for; it was checked before."""
    return str(reference["name"]) if "name" in reference else names[int(reference["id"]) - 1]
