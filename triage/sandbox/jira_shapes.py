"""The JSON that Jira makes of its tickets. Cloud and Data Center differ in users, paging and the form of texts."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from triage.sandbox.jira_documents import document, plain
from triage.sandbox.jira_state import COMPONENTS, PRIORITIES, STATUSES, TRANSITIONS, Comment, Ticket

if TYPE_CHECKING:
    from triage.sandbox.jira import JiraServer

CUSTOM_TYPES = {"string": "textfield", "number": "float", "option": "select"}
NAMES = {
    "project": "Project",
    "issuetype": "Issue Type",
    "summary": "Summary",
    "description": "Description",
    "labels": "Labels",
    "components": "Components",
    "priority": "Priority",
    "environment": "Environment",
}
SEARCHABLE = {"created": "Created", "updated": "Updated", "creator": "Creator", "reporter": "Reporter", "status": "Status"}


class Shapes:
    """Makes the JSON as API version `v` ("2", "3" or "latest") shows it."""

    def __init__(self, server: JiraServer, v: str) -> None:
        self.server = server
        self.documents = server.is_cloud and v == "3"
        self.base = f"{server.url}/rest/api/{v}"

    def text(self, body: Any) -> Any:
        """A text in the form of this API version."""
        if body is None or body == "":
            return None
        if self.documents:
            return document(body) if isinstance(body, str) else body
        return plain(body)

    def time(self, at: float) -> str:
        """A moment in the server's time zone, as Jira writes it."""
        moment = datetime.fromtimestamp(at, self.server.zone)
        return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03}{moment:%z}"

    def user(self, name: str) -> dict[str, Any]:
        """A user."""
        own = name == self.server.user
        shape: dict[str, Any] = {
            "displayName": "Triage Bot" if own else name,
            "active": True,
            "emailAddress": self.server.email if own else f"{name}@people.example",
            "timeZone": self.server.knobs.time_zone,
        }
        if self.server.is_cloud:
            return {"self": f"{self.base}/user?accountId={name}", "accountId": name, "accountType": "atlassian", **shape}
        return {"self": f"{self.base}/user?username={name}", "name": name, "key": f"JIRAUSER-{name}", **shape}

    def issue_type(self, name: str) -> dict[str, Any]:
        """An issue type."""
        number = str(10_100 + self.server.knobs.issue_types.index(name)) if name in self.server.knobs.issue_types else "10199"
        return {"self": f"{self.base}/issuetype/{number}", "id": number, "name": name, "description": "", "subtask": False}

    def project(self, key: str, *, whole: bool = False) -> dict[str, Any]:
        """A project, with its issue types, components and versions when `whole`."""
        number = self.server.project_id(key)
        shape: dict[str, Any] = {
            "self": f"{self.base}/project/{number}",
            "id": number,
            "key": key,
            "name": f"Project {key}",
            "projectTypeKey": "software",
        }
        if whole:
            shape["issueTypes"] = [self.issue_type(name) for name in self.server.knobs.issue_types]
            shape["components"] = [self.named("component", name, COMPONENTS) for name in COMPONENTS]
            shape |= {"versions": [], "roles": {}, "archived": False}
        return shape

    def named(self, kind: str, name: str, names: tuple[str, ...]) -> dict[str, Any]:
        """Something that is known by a name and its number in a list."""
        number = str(names.index(name) + 1) if name in names else "0"
        return {"self": f"{self.base}/{kind}/{number}", "id": number, "name": name}

    def status(self, name: str) -> dict[str, Any]:
        """A status with its category."""
        number, category = STATUSES.get(name, ("10099", "indeterminate"))
        label = {"new": "To Do", "indeterminate": "In Progress", "done": "Done"}[category]
        return {
            "self": f"{self.base}/status/{number}",
            "id": number,
            "name": name,
            "description": "",
            "statusCategory": {"id": {"new": 2, "indeterminate": 4, "done": 3}[category], "key": category, "name": label},
        }

    def comment(self, ticket: Ticket, comment: Comment) -> dict[str, Any]:
        """A comment."""
        return {
            "self": f"{self.base}/issue/{ticket.id}/comment/{comment.id}",
            "id": comment.id,
            "author": self.user(comment.author),
            "updateAuthor": self.user(comment.author),
            "body": self.text(comment.body),
            "created": self.time(comment.created),
            "updated": self.time(comment.updated or comment.created),
        }

    def comments(self, ticket: Ticket, start: int, size: int, *, newest_first: bool = False) -> dict[str, Any]:
        """A page of comments."""
        ordered = ticket.comments[::-1] if newest_first else ticket.comments
        shown = [self.comment(ticket, comment) for comment in ordered[start : start + size]]
        return {"comments": shown, "maxResults": size, "startAt": start, "total": len(ticket.comments)}

    def issue(self, ticket: Ticket, wanted: list[str]) -> dict[str, Any]:
        """A ticket with the fields that were asked for (`*all`, `*navigable`, names, `-name`)."""
        fields = self.fields(ticket)
        if "*all" in wanted or not wanted:
            fields["comment"] = self.comments(ticket, 0, 5000)
        elif "*navigable" not in wanted:
            if "comment" in wanted:
                fields["comment"] = self.comments(ticket, 0, 5000)
            fields = {name: value for name, value in fields.items() if name in wanted}
        fields = {name: value for name, value in fields.items() if f"-{name}" not in wanted}
        return {"expand": "", "id": ticket.id, "self": f"{self.base}/issue/{ticket.id}", "key": ticket.key, "fields": fields}

    def fields(self, ticket: Ticket) -> dict[str, Any]:
        """All fields but the comments."""
        resolution = ticket.resolution
        return {
            "project": self.project(ticket.project),
            "issuetype": self.issue_type(ticket.issue_type),
            "summary": ticket.summary,
            "description": self.text(ticket.description),
            "labels": list(ticket.labels),
            "components": [self.named("component", name, COMPONENTS) for name in ticket.components],
            "priority": self.named("priority", ticket.priority, PRIORITIES),
            "status": self.status(ticket.status),
            "resolution": {"self": f"{self.base}/resolution/10000", "id": "10000", "name": resolution} if resolution else None,
            "resolutiondate": self.time(ticket.updated) if resolution else None,
            "fixVersions": [{"id": "1", "name": name, "released": True, "archived": False} for name in ticket.fix_versions],
            "creator": self.user(ticket.creator),
            "reporter": self.user(ticket.creator),
            "assignee": None,
            "created": self.time(ticket.created),
            "updated": self.time(ticket.updated),
            **dict.fromkeys(self.server.knobs.custom_fields),
            **ticket.fields,
        }

    def transitions(self) -> dict[str, Any]:
        """What can be done with any ticket."""
        found = [{"id": number, "name": name, "to": self.status(name), "hasScreen": False} for number, name in TRANSITIONS.items()]
        return {"expand": "transitions", "transitions": found}

    def create_fields(self) -> list[dict[str, Any]]:
        """What the create screen holds."""
        lists = {"labels": "string", "components": "component"}
        kinds = {"project": "project", "issuetype": "issuetype", "priority": "priority"}
        shapes = []
        for name in self.server.screen():
            custom = self.server.knobs.custom_fields.get(name)
            schema: dict[str, Any] = {"type": kinds.get(name, "string"), "system": name}
            if name in lists:
                schema = {"type": "array", "items": lists[name], "system": name}
            if custom:
                schema = {"type": custom, "custom": f"com.atlassian.jira.plugin.system.customfieldtypes:{CUSTOM_TYPES[custom]}"}
            shape = {
                "required": name in ("project", "issuetype", "summary"),
                "schema": schema,
                "name": NAMES.get(name, f"Custom {name[-5:]}"),
                "key": name,
                "fieldId": name,
                "hasDefaultValue": name == "priority",
                "operations": ["add", "set", "remove"] if name in lists else ["set"],
            }
            allowed = {"priority": PRIORITIES, "components": COMPONENTS}.get(name)
            if allowed:
                shape["allowedValues"] = [self.named(name, one, allowed) for one in allowed]
            shapes.append(shape)
        return shapes

    def all_fields(self) -> list[dict[str, Any]]:
        """Every field that there is, with its names in JQL."""
        names = {**NAMES, **SEARCHABLE, **{name: f"Custom {name[-5:]}" for name in self.server.knobs.custom_fields}}
        return [
            {
                "id": name,
                "key": name,
                "name": shown,
                "custom": name.startswith("customfield_"),
                "orderable": True,
                "navigable": True,
                "searchable": True,
                "clauseNames": [name],
                "schema": {"type": "string", "system": name},
            }
            for name, shown in names.items()
        ]

    def page(self, name: str, found: list[Any], start: int, size: int) -> dict[str, Any]:
        """A page of a list: Cloud calls it by its name, Data Center `values`."""
        shown = found[start : start + size]
        shape: dict[str, Any] = {"maxResults": size, "startAt": start, "total": len(found)}
        if self.server.is_cloud:
            return {**shape, name: shown}
        return {**shape, "isLast": start + len(shown) >= len(found), "values": shown}

    def server_info(self) -> dict[str, Any]:
        """What the server is."""
        cloud = self.server.is_cloud
        return {
            "baseUrl": self.server.url,
            "version": "1001.0.0-SNAPSHOT" if cloud else "9.12.5",
            "versionNumbers": [1001, 0, 0] if cloud else [9, 12, 5],
            "deploymentType": "Cloud" if cloud else "Server",
            "buildNumber": 100287 if cloud else 9120005,
            "buildDate": "2026-01-05T00:00:00.000+0000",
            "serverTime": self.time(self.server.now()),
            "scmInfo": "5eed",
            "serverTitle": "Jira",
        }
