"""Tickets in Jira: Cloud (API v3, documents) and Data Center (API v2, wiki text), by the `jira` package.

The package repeats a POST by itself when a connection drops, which makes two tickets of one; it has no time-out; and its reload
after a create can fail although the issue exists. So: `max_retries=0`, a time-out, `prefetch=False`, and our own adapter below it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from threading import Lock
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from triage import remote
from triage.contracts import Finding, Manifest
from triage.errors import Gone, NotAccepted, OutcomeUnknown, Refused, RemoteError, Unauthorized
from triage.mention import ActionKind, Receipt, Ticket, Work
from triage.trackers import blanking, jira_check, wording
from triage.trackers.markup import LONGEST_TEXT, document, document_size, fit, last_line, units, wiki

LABEL = "triage"  # on every ticket of ours: JQL can't ask for the beginning of a label
MARK = re.compile(rf"{LABEL}-([0-9a-f]{{16,64}})")  # a team's own label, as in triage-web, is none
MISSES_IN_A_ROW = 20  # numbers without an issue: after that many nothing more is there
MOST_READS = 200
HINT_SLACK = 30  # how far below the search's answer a walk begins
LATE_MINUTES = 10  # between an intent and the newest issue that surely existed before it
OVERLAP_MINUTES = 120  # a search shows a change seconds to minutes late; what is read twice does no harm
MOST_COMMENTS = 5_000  # what Jira Cloud keeps on an issue
UNMARKED_SECONDS = 3_600.0
PAGE = 100
SEEN = ("labels", "creator", "description", "status", "resolution", "fixVersions", "updated", "created")
OURS = frozenset(("project", "issuetype", "summary", "description", "labels", "components", "priority"))


class Options(BaseModel):
    """The keys of a Jira tracker in the config."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str = Field(description="The site's address, with the context path if it has one, as in https://acme.example/jira.")
    deployment: Literal["cloud", "data_center"] = Field(description="Which Jira it is; nothing is guessed.")
    user: str | None = Field(
        default=None, description="Cloud: the account's e-mail. Data Center: only with a password in place of a token."
    )
    token: SecretStr = Field(description="Cloud: an API token. Data Center: a personal access token.")
    project: str = Field(pattern=r"^[A-Z][A-Z0-9_]*$", description="The project's key.")
    issue_type: str = Field(default="Bug", min_length=1, description="The issue type's name.")
    labels: list[str] = Field(default_factory=list, description="Labels beside `triage` and the ticket's own marker; no blanks in them.")
    components: list[str] = Field(default_factory=list, description="Names of components.")
    priority: str | None = Field(default=None, description="The priority's name; the project's default where it is left out.")
    fields: dict[str, Any] = Field(default_factory=dict, description="Custom fields by id, passed on as they are.")
    summary: str = Field(default="{{ author }}: {{ first_line }}", description="A template of the ticket's title.")
    description: str = Field(default="", description="A template of a paragraph above the post.")

    @field_validator("url")
    @classmethod
    def _address(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment or "@" in parts.netloc:
            raise ValueError("must be an address like https://acme.atlassian.net, without a user, a query or an anchor")
        return url.rstrip("/")

    @field_validator("labels")
    @classmethod
    def _without_blanks(cls, labels: list[str]) -> list[str]:
        for label in labels:
            if not label or re.search(r"\s", label) or len(label) > 255:
                raise ValueError(f"{label!r} is no label: 1 to 255 characters without blanks")
        return labels

    @field_validator("fields")
    @classmethod
    def _not_ours(cls, fields: dict[str, Any]) -> dict[str, Any]:
        taken = sorted(OURS & fields.keys())
        if taken:
            raise ValueError(f"{', '.join(taken)}: set by the keys of the same meaning, not here")
        return fields

    @field_validator("summary", "description")
    @classmethod
    def _works(cls, template: str) -> str:
        return wording.check_template(template)

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.deployment == "cloud" and not self.user:
            raise ValueError("Jira Cloud needs `user`: the e-mail of the account that the token belongs to")
        return self

    @property
    def is_cloud(self) -> bool:
        """True for Jira Cloud."""
        return self.deployment == "cloud"


class Jira:
    """A project in one Jira. Making one asks the server nothing.

    `unmarked` is empty, or tells that Jira drops our labels, and that no more tickets are filed for that reason.
    """

    def __init__(self, name: str, options: Options, *, deadline: float = remote.DEADLINE_SECONDS) -> None:
        self.manifest = MANIFEST
        self.account = name
        self.options = options
        self.client = _client(name, options, deadline)
        self.unmarked = ""
        self._marked = False  # a ticket of this process was read back and carried its marker
        self._first = Lock()
        self._largest: int | None = None  # of the project's issue numbers that this process saw
        self._before: dict[str, int] = {}  # by marker: the largest number before its first attempt
        self._me = ""

    # ---- writing

    def file(self, work: Work) -> Receipt:
        """Create the ticket. The first one of this process is read back: without `labels` on the create screen Jira drops the marker.

        Then the receipt still stands, and every further call raises `Unauthorized` (the account rests, people are told) until
        somebody mends the screen and restarts.
        """
        if self._marked:
            return self._create(work)
        with self._first:
            if self.unmarked:
                raise Unauthorized(f"{self.account}: {self.unmarked}", after=UNMARKED_SECONDS)
            receipt = self._create(work)
            if not self._marked:
                self._read_back(receipt, work.marker)
            return receipt

    def _create(self, work: Work) -> Receipt:
        options = self.options
        fields: dict[str, Any] = {
            **options.fields,
            "project": {"key": options.project},
            "issuetype": {"name": options.issue_type},
            "description": self._text(wording.ticket(options.description, work)),
            "summary": wording.summary(options.summary, work),
            "labels": [LABEL, mark(work.marker), *options.labels],
        }
        if options.components:
            fields["components"] = [{"name": component} for component in options.components]
        if options.priority:
            fields["priority"] = {"name": options.priority}
        if self._largest is not None:
            self._before.setdefault(work.marker, self._largest)
        with remote.talking(self.account):
            raw = self._created(fields)
            receipt = self._receipt(raw)
        self._before.pop(work.marker, None)
        return receipt

    def _created(self, fields: dict[str, Any]) -> Any:
        from jira import JIRAError

        try:
            return self.client.create_issue(fields=fields, prefetch=False).raw
        except JIRAError:  # its text repeats what we sent
            raise OutcomeUnknown(f"{self.account}: the answer names no ticket") from None

    def _read_back(self, receipt: Receipt, marker: str) -> None:
        try:
            issue = self._issue(receipt.remote_id)
        except RemoteError:
            return  # the ticket is there, which is what counts; the next one is read back in its place
        if issue is None:
            return
        self._marked = mark(marker) in _labels(issue)
        if not self._marked:
            self.unmarked = (
                f"Jira dropped the labels of {receipt.key}: stop creating, labels not on the create screen. "
                f"Add the field Labels to the create screen of {self.options.issue_type} in {self.options.project}, then restart."
            )

    def update(self, work: Work) -> Receipt:
        """Comment on the problem's ticket. `Gone` where it was deleted: a ticket is never made again by itself."""
        issue_id, key = _ticket_of(work)
        body = self._text(wording.comment(work))
        with remote.talking(self.account):
            raw = self.client.add_comment(issue_id, body).raw
            comment_id = str(raw["id"])
        return self._comment_receipt(comment_id, key)

    def prints(self, work: Work, texts: Sequence[str]) -> Mapping[str, Any]:
        """By what `blank` knows the words of a post again; the titles and openings are those of today's templates."""
        return blanking.prints(self.options.summary, self.options.description, work, texts)

    def blank(self, work: Work) -> Receipt:
        """Take the post's words out of a ticket or comment of ours, and read back that they are gone.

        Jira mails a change to those who watch the ticket, the old text with it, and lets only a project's administrator change
        something in silence. So it is tried in silence first: then Jira refuses it, or lets it pass without doing it.
        """
        for quiet in (True, False):
            held = self._held(work)
            if held.is_written:
                break
            with remote.sending(remote.boot_seconds()):  # from now on: else we would overwrite what somebody writes meanwhile
                self._put(work, held, quiet=quiet)
        else:
            held = self._held(work)
        if not held.is_written:
            raise NotAccepted(f"{self.account}: {held.receipt.key} still says it after the change")
        if held.missing:
            raise Refused(f"{self.account}: {held.receipt.key}: {'; '.join(held.missing)}")
        return held.receipt

    def _put(self, work: Work, held: blanking.Held, *, quiet: bool) -> None:
        assert work.previous is not None
        if work.payload.get("of") == "ticket":
            path = f"issue/{held.receipt.remote_id}"
            change = {"description": held.body, "summary": held.title}
            body: dict[str, Any] = {"fields": {name: value for name, value in change.items() if value is not None}}
        else:
            path, body = f"issue/{held.receipt.key}/comment/{held.receipt.remote_id}", {"body": held.body}
        silence = {"notifyUsers": "false"} if quiet else {}
        try:
            with remote.talking(self.account):  # not by the package's own verb, which reads again and calls that a failed write
                self.client._session.put(self.client._get_url(path), params=silence, data=json.dumps(body))
        except Unauthorized as error:
            if error.status != 403:
                raise
            if not quiet:  # a right is missing; the token has just been good for a read, and files tickets
                raise Refused(str(error), status=403) from None
        except Refused as error:
            if error.status == 409:  # somebody else changes it at this moment
                raise NotAccepted(str(error), status=409) from None
            raise

    def _held(self, work: Work) -> blanking.Held:
        """What the ticket or comment says now, and should say. `Refused` where it is not ours (any more) or gone."""
        if work.previous is None:
            raise Refused("there is no ticket to take anything out of")
        known = blanking.Prints(work.payload.get("prints") or self.prints(work, work.payload["texts"]))
        is_ticket = work.payload.get("of") == "ticket"
        issue = self._text_at(f"issue/{work.previous.remote_id if is_ticket else work.previous.key}", "summary,description,creator")
        comment = None if is_ticket else self._text_at(f"issue/{issue['id']}/comment/{work.previous.remote_id}")
        with self.reading():
            receipt, fields = self._receipt(issue), issue["fields"]
            if self._number(receipt.key) is None:
                raise Refused(f"{self.account}: {work.previous.key} is {receipt.key} now, of another project than {self.options.project}")
            if _person(comment["author"] if comment else fields["creator"]) != self._myself():
                raise Refused(f"{self.account}: {receipt.key} was not written by our account")
            if comment is not None:
                return blanking.held(work, known, self._comment_receipt(str(comment["id"]), receipt.key), comment["body"])
            return blanking.held(work, known, receipt, fields["description"], fields["summary"])

    def _text_at(self, path: str, fields: str = "") -> Any:
        try:
            return self.get(path, **({"fields": fields} if fields else {}))
        except Gone as error:
            if error.proven:
                raise
            raise NotAccepted(str(error), status=error.status) from None

    def _text(self, blocks: Any) -> Any:
        """A text in the language of this deployment, within Jira's limit."""
        if self.options.is_cloud:
            return fit(blocks, document, document_size, LONGEST_TEXT)
        return fit(blocks, wiki, units, LONGEST_TEXT)

    # ---- looking

    def find(self, work: Work) -> Sequence[Receipt]:
        """Tickets, or comments for a comment, that carry the marker and were made by our own account; for a blank what was blanked.

        A search index lags behind a write by seconds to minutes, a read by key does not. So tickets are read by key, upward from
        the largest number known from before the first attempt until `MISSES_IN_A_ROW` or `MOST_READS`, and then searched by label
        in all projects, for one that was moved. Three say what was before: what this process saw until its first attempt;
        `payload["known_key"]`, an issue of the project that the caller knows to be older; and the search, for an issue from
        `LATE_MINUTES` before the attempt is in the index by now. That last one is only a hint, since an old issue may have been
        moved here under a new number: the walk begins `HINT_SLACK` below it. The search is asked in minutes before now, because
        it reads dates in a time zone of its own.
        """
        if work.kind is ActionKind.COMMENT:
            return self._find_comments(work)
        if work.kind is ActionKind.BLANK:  # read by its id, which lags behind nothing
            try:
                held = self._held(work)
            except Refused:
                return []  # it can't be found out, nor done: the next try says why
            return [held.receipt] if held.is_blank else []
        found: dict[str, Receipt] = {}
        for issue in (*self._upward_from(self._start(work)), *self.search(f'labels = "{mark(work.marker)}"')):
            if self._is_ours(issue, work.marker):
                receipt = self._receipt(issue)
                found[receipt.remote_id] = receipt
        return list(found.values())

    def _start(self, work: Work) -> int:
        """The largest issue number of which it is known that our ticket's is larger."""
        known = self._number(str(work.payload.get("known_key") or "")) or 0
        before = f'project = "{self.options.project}" AND created <= "-{_minutes_since(work.first_intent_at) + LATE_MINUTES}m"'
        newest = next(self.search(f"{before} ORDER BY created DESC", most=1), None)
        hint = (self._number(str(newest.get("key"))) or 0) - HINT_SLACK if newest else 0
        return max(self._before.get(work.marker, 0), known, hint)

    def _upward_from(self, start: int) -> Iterator[dict[str, Any]]:
        misses = 0
        for number in range(start + 1, start + 1 + MOST_READS):
            issue = self._issue(f"{self.options.project}-{number}")
            misses = misses + 1 if issue is None else 0
            if misses == MISSES_IN_A_ROW:
                return
            if issue is not None:
                yield issue

    def _find_comments(self, work: Work) -> Sequence[Receipt]:
        issue_id, key = _ticket_of(work)
        found: dict[str, Receipt] = {}
        seen: set[str] = set()
        while len(seen) < MOST_COMMENTS:
            before = len(seen)
            with self.reading():
                try:
                    page = self.client.comments(issue_id, start_at=before, max_results=PAGE, order_by="-created")
                except Gone:
                    return []
                for comment in page:
                    raw = comment.raw
                    seen.add(raw["id"])
                    if last_line(raw.get("body")) == f"triage:{work.marker}" and _person(raw.get("author")) == self._myself():
                        found[raw["id"]] = self._comment_receipt(raw["id"], key)
            if len(seen) == before:
                break
        return list(found.values())

    def _is_ours(self, issue: Mapping[str, Any], marker: str) -> bool:
        fields = issue.get("fields") or {}
        marked = mark(marker) in _labels(issue) or last_line(fields.get("description")) == f"triage:{marker}"
        return marked and _person(fields.get("creator")) == self._myself()

    # ---- reading

    def changed(self, since: datetime | None) -> Iterator[Ticket]:
        """Our tickets that changed since then, oldest change first, with an overlap of `OVERLAP_MINUTES`; all of ours for None."""
        recent = "" if since is None else f' AND updated >= "-{_minutes_since(since) + OVERLAP_MINUTES}m"'
        # By creation, which never changes: a ticket that changes between two pages would push another across their border.
        issues = list(self.search(f'labels = "{LABEL}"{recent} ORDER BY created ASC'))
        with self.reading():
            tickets = [self._ticket(issue) for issue in issues if _marker(issue)]
        yield from sorted(tickets, key=lambda ticket: ticket.updated_at or datetime.min.replace(tzinfo=UTC))

    def duplicates(self, since: datetime) -> Mapping[str, Sequence[Receipt]]:
        """Our own tickets made since then that share a marker. A person's clone has our labels and another creator: it does not count."""
        found: dict[str, list[Receipt]] = {}
        for issue in self.search(f'labels = "{LABEL}" AND created >= "-{_minutes_since(since) + LATE_MINUTES}m" ORDER BY created ASC'):
            marker = _marker(issue)
            if marker and self._is_ours(issue, marker):
                found.setdefault(marker, []).append(self._receipt(issue))
        return {marker: receipts for marker, receipts in found.items() if len(receipts) > 1}

    def check(self) -> Iterator[Finding]:
        """Whether everything is as `file` needs it: server, account, project, rights, issue type, screen, search, clock."""
        return jira_check.findings(self)

    def search(self, jql: str, most: int | None = None) -> Iterator[dict[str, Any]]:
        """Issues by JQL (of ours alone: nothing from a post goes in), page by page, at most `most`."""
        count = 0
        token: str | None = None
        while True:
            with self.reading():
                page = self._page(jql, count, token, min(most or PAGE, PAGE))
                issues = [dict(issue) for issue in page["issues"]]
            yield from issues if most is None else issues[: most - count]
            count += len(issues)
            last, token = token, page.get("nextPageToken")
            ended = token in (None, last) if self.options.is_cloud else count >= int(page.get("total") or 0)
            if ended or not issues or (most is not None and count >= most):
                return

    def _page(self, jql: str, start: int, token: str | None, size: int) -> Any:
        """Cloud pages by token and has dropped the search by number; Data Center knows that one alone."""
        if self.options.is_cloud:
            return self.client.enhanced_search_issues(jql, nextPageToken=token, maxResults=size, fields=list(SEEN), json_result=True)
        return self.client.search_issues(jql, startAt=start, maxResults=size, fields=list(SEEN), json_result=True)

    def _issue(self, id_or_key: str) -> dict[str, Any] | None:
        """One issue, not from the search index; None where there is none that we may see."""
        try:
            issue = self.get(f"issue/{id_or_key}", fields=",".join(SEEN))
        except Gone:
            return None
        with self.reading():
            self._saw(issue["key"])
            return dict(issue)

    def get(self, path: str, **params: str | int) -> Any:
        """The parsed answer to a read below the API's root; `NotAccepted` where it is no JSON."""
        with self.reading():
            return self.client._get_json(path, params=params)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Around a read: an answer that can't be understood is no doubt about anything, only a look that failed."""
        try:
            with remote.talking(self.account):
                yield
        except OutcomeUnknown as error:
            raise NotAccepted(str(error), status=error.status) from None

    def _myself(self) -> str:
        if not self._me:
            with self.reading():
                self._me = _person(self.client.myself())
        if not self._me:
            raise NotAccepted(f"{self.account}: Jira does not say which account the token belongs to")
        return self._me

    # ---- shapes

    def _receipt(self, issue: Mapping[str, Any]) -> Receipt:
        issue_id, key = str(issue["id"]), issue["key"]
        if not issue_id.isdigit() or not isinstance(key, str) or not re.fullmatch(r"\w+-\d+", key):
            raise OutcomeUnknown(f"{self.account}: the answer names no ticket")
        self._saw(key)
        return Receipt(issue_id, key, f"{self.options.url}/browse/{key}")

    def _comment_receipt(self, comment_id: str, key: str) -> Receipt:
        return Receipt(comment_id, key, f"{self.options.url}/browse/{key}?focusedCommentId={comment_id}")

    def _ticket(self, issue: Mapping[str, Any]) -> Ticket:
        fields = issue["fields"]
        updated = fields.get("updated")
        return Ticket(
            id=str(issue["id"]),
            key=issue["key"],
            url=f"{self.options.url}/browse/{issue['key']}",
            status=_name(fields.get("status")),
            resolution=_name(fields.get("resolution")),
            fix_versions=tuple(_name(version) for version in fields.get("fixVersions") or []),
            updated_at=datetime.fromisoformat(updated).astimezone(UTC) if updated else None,
        )

    def _number(self, key: str) -> int | None:
        """The number in a key of our project."""
        project, _, number = key.rpartition("-")
        return int(number) if project == self.options.project and number.isdigit() else None

    def _saw(self, key: str) -> None:
        number = self._number(key)
        if number is not None:
            self._largest = max(number, self._largest or 0)


def _client(account: str, options: Options, deadline: float) -> Any:
    """The package's client, made so that it neither asks nor repeats anything by itself."""
    from jira import JIRA

    token = options.token.get_secret_value()
    remote.keep_secret(token)
    client = JIRA(
        server=options.url,
        options={"rest_api_version": "3" if options.is_cloud else "2", "headers": {"User-Agent": remote.AGENT}},
        basic_auth=(options.user, token) if options.user else None,
        token_auth=None if options.user else token,
        max_retries=0,
        timeout=deadline,
        get_server_info=False,
        logging=False,
    )
    # Without this the client takes every server for no Cloud, and its Cloud search returns None without a word.
    client.deploymentType = "Cloud" if options.is_cloud else "Server"
    # A search would first read all fields of the site, and take a custom field that is named "status" for the real one.
    client._fields_cache_value = {"labels": "labels"}
    remote.mount(client._session, account, deadline=deadline)
    return client


def mark(marker: str) -> str:
    """The label that stands for a marker. `ValueError` for a marker that would need an escape: it goes into JQL and wiki text."""
    label = f"{LABEL}-{marker}"
    if not MARK.fullmatch(label):
        raise ValueError(f"a marker is 16 to 64 hexadecimal digits, not {marker!r}")
    return label


def _marker(issue: Mapping[str, Any]) -> str:
    """The marker among an issue's labels, "" if there is none."""
    return next((found[1] for label in _labels(issue) if (found := MARK.fullmatch(label))), "")


def _labels(issue: Mapping[str, Any]) -> list[str]:
    labels = (issue.get("fields") or {}).get("labels")
    return [label for label in labels if isinstance(label, str)] if isinstance(labels, list) else []


def _person(user: Any) -> str:
    """Who a user is: the account id on Cloud, the key or name on Data Center; "" for nobody."""
    return str(user.get("accountId") or user.get("key") or user.get("name") or "") if isinstance(user, dict) else ""


def _name(thing: Any) -> str:
    return str(thing.get("name") or "") if isinstance(thing, dict) else ""


def _ticket_of(work: Work) -> tuple[str, str]:
    """Id and key of the ticket to comment on."""
    if work.problem is not None and work.problem.ticket is not None:
        return work.problem.ticket.id, work.problem.ticket.key
    if work.previous is not None:
        return work.previous.remote_id, work.previous.key
    raise Refused("there is no ticket yet to comment on")


def _minutes_since(moment: datetime) -> int:
    return max(0, math.ceil((datetime.now(UTC) - moment).total_seconds() / 60))


MANIFEST = Manifest(name="jira", options=Options, build=Jira)
