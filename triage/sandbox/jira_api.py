"""The part of Jira's REST API that a tracker uses, route by route."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from triage.sandbox import jira_documents as documents
from triage.sandbox.http import Rejected, Reply, Request
from triage.sandbox.jira_jql import Asker, JqlError, parse
from triage.sandbox.jira_shapes import Shapes
from triage.sandbox.jira_state import COMPONENTS, PRIORITIES, TRANSITIONS, Comment, Ticket

if TYPE_CHECKING:
    from triage.sandbox.jira import JiraServer

LONGEST_SUMMARY = 255
LONGEST_TEXT = 32_767
ISSUE = r"/issue/(?P<id>[^/]+)"
COMMENT = r"(?P<comment>[^/]+)"
PROJECT = r"(?P<project>[^/]+)"


def refuse(status: int, *messages: str, **errors: str) -> Rejected:
    """An error as Jira puts it."""
    return Rejected(status, {"errorMessages": list(messages), "errors": errors})


class Api:
    """The handlers. Each runs under the server's lock."""

    def __init__(self, server: JiraServer) -> None:
        self.server = server
        routes: list[tuple[str, str, Callable[[Request], Any]]] = [
            ("GET", "/serverInfo", lambda request: self.shapes(request).server_info()),
            ("GET", "/myself", lambda request: self.shapes(request).user(server.user)),
            ("GET", "/mypermissions", self.permissions),
            ("GET", "/field", lambda request: self.shapes(request).all_fields()),
            ("GET", "/priority", lambda request: [self.shapes(request).named("priority", one, PRIORITIES) for one in PRIORITIES]),
            ("GET", f"/project/{PROJECT}", self.project),
            ("GET", f"/issue/createmeta/{PROJECT}/issuetypes", self.issue_types),
            ("GET", f"/issue/createmeta/{PROJECT}/issuetypes/(?P<type>[^/]+)", self.create_fields),
            ("POST", "/issue", self.create),
            ("GET", ISSUE, self.issue),
            ("PUT", ISSUE, self.edit),
            ("GET", f"{ISSUE}/comment", self.comments),
            ("POST", f"{ISSUE}/comment", self.add_comment),
            ("GET", f"{ISSUE}/comment/{COMMENT}", lambda request: self.shapes(request).comment(*self.comment(request))),
            ("PUT", f"{ISSUE}/comment/{COMMENT}", self.edit_comment),
            ("GET", f"{ISSUE}/transitions", self.transitions),
            ("POST", f"{ISSUE}/transitions", self.transition),
            ("GET", "/search/jql", self.search),
            ("POST", "/search/jql", self.search),
            ("GET", "/search", self.old_search),
            ("POST", "/search", self.old_search),
        ]
        versions = "2|3|latest" if server.is_cloud else "2|latest"
        for method, pattern, handler in routes:
            server.route(method, f"/rest/api/(?P<v>{versions}){pattern}", handler)

    def shapes(self, request: Request) -> Shapes:
        """The shapes of the API version that was asked for. On Cloud `latest` is 3."""
        v = request.groups["v"]
        return Shapes(self.server, "3" if v == "latest" and self.server.is_cloud else v)

    def authorize(self, request: Request) -> None:
        """Cloud wants Basic with the mail address and the token, Data Center the token as Bearer."""
        kind, _, value = request.headers.get("authorization", "").partition(" ")
        if self.server.is_cloud and kind.lower() == "basic":
            try:
                value = base64.b64decode(value, validate=True).decode()
            except (binascii.Error, ValueError):
                value = ""
            if value == f"{self.server.email}:{self.server.token}":
                return
        elif not self.server.is_cloud and kind.lower() == "bearer" and value == self.server.token:
            return
        raise Rejected.by(self.server.unauthorized())

    def ticket(self, request: Request) -> Ticket:
        """The ticket that the path names."""
        ticket = self.server.board.find(request.groups["id"])
        if ticket is None or "BROWSE_PROJECTS" not in self.server.knobs.permissions:
            raise refuse(404, "The issue does not exist or you may not see it.")
        return ticket

    def may(self, permission: str) -> None:
        """`Rejected` with 403 where the account lacks a permission."""
        if permission not in self.server.knobs.permissions:
            raise refuse(403, f"You lack the permission {permission}.")

    def paging(self, request: Request, default: int = 50) -> tuple[int, int]:
        """Where the page starts and how long it is."""
        start = request.one("startAt", "0")
        return (int(start) if start.isdigit() else 0), request.number("maxResults", default, self.server.knobs.page_size)

    def permissions(self, request: Request) -> Any:
        """What the account may do. Cloud wants to be told what is asked for."""
        asked = [name for name in ",".join(request.many("permissions")).split(",") if name]
        if self.server.is_cloud and not asked:
            raise refuse(400, "The parameter 'permissions' is required.")
        key = request.one("projectKey")
        if key and key not in self.server.knobs.projects:
            raise refuse(404, f"No project could be found with key '{key}'.")
        have = self.server.knobs.permissions
        names = asked or sorted(have)
        shape = {
            name: {"id": str(n), "key": name, "name": name.replace("_", " ").title(), "type": "PROJECT", "havePermission": name in have}
            for n, name in enumerate(names)
        }
        return {"permissions": shape}

    def _project(self, request: Request) -> str:
        asked = request.groups["project"]
        for key in self.server.knobs.projects:
            if asked in (key, self.server.project_id(key)) and "BROWSE_PROJECTS" in self.server.knobs.permissions:
                return key
        raise refuse(404, f"No project could be found with key '{asked}'.")

    def project(self, request: Request) -> Any:
        """A project."""
        return self.shapes(request).project(self._project(request), whole=True)

    def issue_types(self, request: Request) -> Any:
        """The issue types that can be created in a project."""
        self._project(request)
        shapes = self.shapes(request)
        return shapes.page("issueTypes", [shapes.issue_type(name) for name in self.server.knobs.issue_types], *self.paging(request))

    def create_fields(self, request: Request) -> Any:
        """The fields of the create screen."""
        self._project(request)
        shapes = self.shapes(request)
        if request.groups["type"] not in [shapes.issue_type(name)["id"] for name in self.server.knobs.issue_types]:
            raise refuse(404, "The issue type is not of this project.")
        return shapes.page("fields", shapes.create_fields(), *self.paging(request))

    def create(self, request: Request) -> Any:
        """Create a ticket."""
        body = request.json()
        fields = body.get("fields") if isinstance(body, dict) else None
        if not isinstance(fields, dict):
            raise refuse(400, "The body needs an object 'fields'.")
        errors: dict[str, str] = {}
        project = self._reference(fields.get("project"), {self.server.project_id(key): key for key in self.server.knobs.projects}, "key")
        if project is None or "BROWSE_PROJECTS" not in self.server.knobs.permissions:
            errors["project"] = "A valid project is required."
        else:
            self.may("CREATE_ISSUES")
        shapes = self.shapes(request)
        issue_type = self._reference(fields.get("issuetype"), {shapes.issue_type(one)["id"]: one for one in self.server.knobs.issue_types})
        if issue_type is None:
            errors["issuetype"] = "Specify a valid issue type."
        errors |= self._errors(fields, shapes)
        if errors or project is None or issue_type is None:
            raise refuse(400, **errors)
        ticket = self.server.ticket_made(project, issue_type, fields)
        return Reply({"id": ticket.id, "key": ticket.key, "self": f"{shapes.base}/issue/{ticket.id}"}, 201)

    def _reference(self, value: Any, known: dict[str, str], by: str = "name") -> str | None:
        """What a `{"id": …}` or `{"name": …}` names."""
        if not isinstance(value, dict):
            return None
        name = value.get(by)
        return str(name) if name in known.values() else known.get(str(value.get("id")))

    def _errors(self, fields: dict[str, Any], shapes: Shapes) -> dict[str, str]:
        """What is wrong with the fields, by field."""
        on_screen = self.server.screen()
        errors = {
            name: f"Field '{name}' cannot be set. It is not on the appropriate screen, or unknown."
            for name in fields
            if name not in on_screen
        }
        summary = fields.get("summary")
        if not isinstance(summary, str) or not summary.strip():
            errors["summary"] = "You must specify a summary of the issue."
        elif re.search(r"[\r\n]", summary):
            errors["summary"] = "The summary is invalid because it contains newline characters."
        elif len(summary) > LONGEST_SUMMARY:
            errors["summary"] = f"Summary must be at most {LONGEST_SUMMARY} characters."
        if fields.get("description") is not None:
            wrong = self._text_error(fields["description"], shapes)
            errors |= {"description": wrong} if wrong else {}
        labels = fields.get("labels", [])
        if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
            errors["labels"] = "Labels are a list of texts."
        else:
            for label in labels:
                if re.search(r"\s", label) or not label or len(label) > LONGEST_SUMMARY:
                    errors.setdefault("labels", f"The label '{label}' contains spaces or is too long, which is invalid.")
        components = fields.get("components", [])
        if not isinstance(components, list) or any(self._reference(one, _numbered(COMPONENTS)) is None for one in components):
            errors.setdefault("components", "A component does not exist in this project.")
        if fields.get("priority") is not None and self._reference(fields["priority"], _numbered(PRIORITIES)) is None:
            errors.setdefault("priority", "The priority selected is invalid.")
        for name, kind in self.server.knobs.custom_fields.items():
            good = {"string": str, "number": int | float, "option": dict}[kind]
            if fields.get(name) is not None and not isinstance(fields[name], good):
                errors.setdefault(name, f"The value of '{name}' must be a {kind}.")
        return errors

    def _text_error(self, body: Any, shapes: Shapes) -> str | None:
        if shapes.documents:
            wrong = documents.problem(body)
            if wrong:
                return f"Operation value must be an Atlassian Document: {wrong}."
        elif not isinstance(body, str):
            return "Operation value must be a string."
        if len(documents.plain(body)) > LONGEST_TEXT:
            return f"The entered text is too long. It exceeds the allowed limit of {LONGEST_TEXT} characters."
        return None

    def wanted(self, request: Request, body: dict[str, Any], default: list[str]) -> list[str]:
        """The names of the fields that were asked for."""
        asked = body.get("fields", request.many("fields"))
        names = asked.split(",") if isinstance(asked, str) else [name for one in asked for name in str(one).split(",")]
        return [name for name in names if name] or default

    def issue(self, request: Request) -> Any:
        """One ticket."""
        return self.shapes(request).issue(self.ticket(request), self.wanted(request, {}, ["*all"]))

    def comments(self, request: Request) -> Any:
        """The comments of a ticket, oldest first unless told otherwise."""
        start, size = self.paging(request, self.server.knobs.page_size)
        return self.shapes(request).comments(self.ticket(request), start, size, newest_first=request.one("orderBy") == "-created")

    def add_comment(self, request: Request) -> Any:
        """Comment on a ticket."""
        ticket = self.ticket(request)
        self.may("ADD_COMMENTS")
        body, shapes = request.json(), self.shapes(request)
        text = body.get("body") if isinstance(body, dict) else None
        wrong = self._text_error(text, shapes) or ("" if documents.plain(text).strip() else "Comment body can not be empty!")
        if wrong:
            raise refuse(400, comment=wrong)
        return Reply(shapes.comment(ticket, self.server.comment_made(ticket, text)), 201)

    def comment(self, request: Request) -> tuple[Ticket, Comment]:
        """The comment that the path names, with its ticket."""
        ticket = self.ticket(request)
        for comment in ticket.comments:
            if comment.id == request.groups["comment"]:
                return ticket, comment
        raise refuse(404, f"Can not find a comment for the id: {request.groups['comment']}.")

    def edit(self, request: Request) -> Any:
        """Set a ticket's title and description, which is all that is asked for.

        In silence only an administrator may: others are refused by Data Center, and Cloud "ignores the request", as its reference puts it.
        """
        ticket, body = self.ticket(request), request.json()
        fields = body.get("fields") if isinstance(body, dict) else None
        if not isinstance(fields, dict) or not fields:
            raise refuse(400, "The body needs an object 'fields'.")
        told = request.one("notifyUsers", "true") == "true"
        allowed = told or "ADMINISTER_PROJECTS" in self.server.knobs.permissions
        if not allowed and not self.server.is_cloud:
            raise refuse(403, "To discard the user notification either admin or project admin permissions are required.")
        self.may("EDIT_ISSUES")
        editable = {"summary", "description"} - set(self.server.knobs.locked)
        errors = {
            name: f"Field '{name}' cannot be set. It is not on the appropriate screen, or unknown." for name in fields.keys() - editable
        }
        errors |= self._errors({"summary": ticket.summary} | fields, self.shapes(request))
        if errors:
            raise refuse(400, **errors)
        if allowed:
            self.server.ticket_changed(ticket, fields, told=told)
        return Reply("", 204)

    def edit_comment(self, request: Request) -> Any:
        """Write a comment of one's own anew. On Data Center the parameter about those who watch is unknown, and passed over."""
        ticket, comment = self.comment(request)
        told = not self.server.is_cloud or request.one("notifyUsers", "true") == "true"
        if "EDIT_OWN_COMMENTS" not in self.server.knobs.permissions or comment.author != self.server.user:
            raise refuse(400, f"You do not have the permission to edit the comment with id: {comment.id}.")
        body, shapes = request.json(), self.shapes(request)
        text = body.get("body") if isinstance(body, dict) else None
        wrong = self._text_error(text, shapes)
        if wrong:
            raise refuse(400, comment=wrong)
        self.server.comment_changed(ticket, comment, text, told=told)
        return shapes.comment(ticket, comment)

    def transitions(self, request: Request) -> Any:
        """What can be done with a ticket."""
        self.ticket(request)
        return self.shapes(request).transitions()

    def transition(self, request: Request) -> Any:
        """Do it. Cloud wants the id as a text."""
        ticket, body = self.ticket(request), request.json()
        self.may("TRANSITION_ISSUES")
        number = (body.get("transition") or {}).get("id") if isinstance(body, dict) else None
        if self.server.is_cloud and not isinstance(number, str):
            raise refuse(400, "The transition identifier must be a string.")
        if str(number) not in TRANSITIONS:
            raise refuse(400, f"The transition {number} is not valid for this issue.")
        self.server.set_status(ticket.key, TRANSITIONS[str(number)])
        return Reply("", 204)

    def _found(self, request: Request, body: dict[str, Any]) -> list[Ticket]:
        """What a query finds in the index as it is by now."""
        knobs = self.server.knobs
        jql = str(body.get("jql") or request.one("jql"))
        now = self.server.now()
        asker = Asker(self.server.user, now, self.server.zone, frozenset(knobs.projects), self.server.board.find)
        try:
            query = parse(jql, asker)
        except JqlError as error:
            raise refuse(400, f"Error in the JQL Query: {error}.") from None
        if self.server.is_cloud and not query.tests:
            raise refuse(400, "Unbounded JQL queries are not allowed here. Please add a search restriction to your query.")
        if "BROWSE_PROJECTS" not in knobs.permissions:
            return []
        certain = {str(one) for one in body.get("reconcileIssues") or request.many("reconcileIssues")}
        until = float("-inf") if knobs.search_lag == "never" else now - float(knobs.search_lag)
        return query.run(self.server.board.indexed(until, certain))

    def search(self, request: Request) -> Any:
        """Cloud's search: pages follow each other by a token. It lags behind writes."""
        if not self.server.is_cloud:
            return self.server.not_found(request)
        body = self._body(request)
        found = self._found(request, body)
        token = str(body.get("nextPageToken") or request.one("nextPageToken"))
        start = self._start(token) if token else 0
        size = min(int(body.get("maxResults") or request.number("maxResults", 50, 5000)), self.server.knobs.page_size)
        names, shapes = self.wanted(request, body, ["id"]), self.shapes(request)
        issues = [shapes.issue(ticket, names) for ticket in found[start : start + size]]
        if names == ["id"]:
            issues = [{"id": issue["id"]} for issue in issues]
        answer: dict[str, Any] = {"issues": issues, "isLast": start + size >= len(found)}
        if not answer["isLast"]:
            answer["nextPageToken"] = base64.urlsafe_b64encode(json.dumps({"start": start + size}).encode()).decode()
        return answer

    def _start(self, token: str) -> int:
        try:
            return int(json.loads(base64.urlsafe_b64decode(token))["start"])
        except (ValueError, KeyError, TypeError):
            raise refuse(400, "The nextPageToken is not valid.") from None

    def _body(self, request: Request) -> dict[str, Any]:
        body = request.json() if request.method == "POST" else {}
        return body if isinstance(body, dict) else {}

    def old_search(self, request: Request) -> Any:
        """Data Center's search: pages by number. On Cloud it is gone."""
        if self.server.is_cloud:
            raise refuse(410, "This API has been removed. Use /rest/api/3/search/jql instead.")
        body = self._body(request)
        found = self._found(request, body)
        start, size = self.paging(request)
        start = int(body.get("startAt", start))
        size = min(int(body.get("maxResults") or size), self.server.knobs.page_size)
        names, shapes = self.wanted(request, body, ["*navigable"]), self.shapes(request)
        issues = [shapes.issue(ticket, names) for ticket in found[start : start + size]]
        return {"expand": "", "startAt": start, "maxResults": size, "total": len(found), "issues": issues}


def _numbered(names: tuple[str, ...]) -> dict[str, str]:
    return {str(number): name for number, name in enumerate(names, 1)}
