"""The tables. Times are aware and in UTC; JSON columns hold what is only shown or carried, never what is searched."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.types import TypeDecorator

_DIGITS = len("2026-05-01 12:00:00.000000")


class Utc(TypeDecorator[datetime]):
    """An aware time. SQLite keeps it as text that sorts, PostgreSQL as `timestamptz`."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        """On SQLite the text is made here: SQLAlchemy's own way takes four times as long, and every row holds some."""
        return dialect.type_descriptor(sa.Text() if dialect.name == "sqlite" else sa.DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """To the database; a naive time is a mistake of ours."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a zone")
        if value.tzinfo is not UTC:
            value = value.astimezone(UTC)
        return value.isoformat(" ", "microseconds")[:_DIGITS] if dialect.name == "sqlite" else value

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """From the database."""
        if value is None:
            return None
        if dialect.name == "sqlite":
            return datetime.fromisoformat(f"{value}+00:00")  # whose zone is UTC itself
        found: datetime = value
        return found.astimezone(UTC)


Id = sa.BigInteger().with_variant(sa.Integer, "sqlite")  # SQLite numbers rows by itself only for INTEGER

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# What belongs to the installation as a whole: the install secret, the time of the last audit.
meta = sa.Table(
    "meta",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)

# Every source, tracker and notifier that we talk to: where we stand with it and how it is.
accounts = sa.Table(
    "accounts",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("role", sa.Text, primary_key=True),  # source, tracker, notifier
    sa.Column("started_at", Utc),  # a rescan looks no further back than this
    sa.Column("cursor", sa.Text),
    sa.Column("due_at", Utc),
    sa.Column("rescan_at", Utc),
    sa.Column("paused_until", Utc),
    sa.Column("paused_why", sa.Text, nullable=False, server_default=""),
    sa.Column("failures", sa.Integer, nullable=False, server_default="0"),
    sa.Column("refusals", sa.Integer, nullable=False, server_default="0"),
    sa.Column("last_success_at", Utc),
    sa.Column("last_error", sa.Text, nullable=False, server_default=""),
    sa.Column("held_back", sa.Integer),
    sa.Column("late_found", sa.Integer, nullable=False, server_default="0"),
    # What the far side last said of its limit: how many requests it allows, how many are left, and until when.
    sa.Column("budget_limit", sa.Integer),
    sa.Column("budget_left", sa.Integer),
    sa.Column("budget_reset_at", Utc),
    # The same of its limit on posts.
    sa.Column("posts_limit", sa.Integer),
    sa.Column("posts_left", sa.Integer),
    sa.Column("posts_reset_at", Utc),
    # It failed: until then nobody calls it, or somebody tries it for everybody.
    sa.Column("probe_at", Utc),
)

# From when to when we have everything of a source, a row a stretch. `how`: polls (the newest grows with each poll that reads to the
# end), hole (the far side no longer showed it; `why`), backfill (read by hand, as far as the far side still showed it).
coverage = sa.Table(
    "coverage",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("from_at", Utc, nullable=False),
    sa.Column("until_at", Utc, nullable=False),
    sa.Column("how", sa.Text, nullable=False),
    sa.Column("why", sa.Text, nullable=False, server_default=""),
)
sa.Index("ix_coverage_source", coverage.c.source, coverage.c.id)

mentions = sa.Table(
    "mentions",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("uri", sa.Text, nullable=False, unique=True),
    sa.Column("platform", sa.Text, nullable=False),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("remote_id", sa.Text, nullable=False),
    sa.Column("parent_id", sa.Text),
    sa.Column("thread", sa.Text),
    sa.Column("problem_id", Id, sa.ForeignKey("problems.id")),
    sa.Column("author", sa.Text, nullable=False),
    sa.Column("visibility", sa.Text, nullable=False),
    sa.Column("language", sa.Text),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("data", sa.JSON, nullable=False),
    sa.Column("created_at", Utc, nullable=False),
    sa.Column("stored_at", Utc, nullable=False),
    sa.Column("read_at", Utc, nullable=False),
    sa.Column("deleted_at", Utc),
    sa.Column("quarantined", sa.Text),
    sa.Column("observe", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("revision", sa.Integer, nullable=False, server_default="1"),
    sa.Column("attempt", sa.Integer, nullable=False, server_default="0"),
    sa.Column("due_at", Utc),
    sa.Column("reread_at", Utc),
)
sa.Index(
    "ix_mentions_due_at", mentions.c.due_at, sqlite_where=mentions.c.due_at.is_not(None), postgresql_where=mentions.c.due_at.is_not(None)
)
sa.Index(
    "ix_mentions_reread_at",
    mentions.c.reread_at,
    sqlite_where=mentions.c.reread_at.is_not(None),
    postgresql_where=mentions.c.reread_at.is_not(None),
)
sa.Index(
    "ix_mentions_quarantined",
    mentions.c.id,
    sqlite_where=mentions.c.quarantined.is_not(None),
    postgresql_where=mentions.c.quarantined.is_not(None),
)
TAKEN_BACK = sa.and_(mentions.c.deleted_at.is_not(None), mentions.c.author != sa.literal_column("''"))
"""A post that its author deleted and whose words are still there: what was erased has no author."""
sa.Index("ix_mentions_taken_back", mentions.c.deleted_at, sqlite_where=TAKEN_BACK, postgresql_where=TAKEN_BACK)
sa.Index("ix_mentions_author", mentions.c.author, mentions.c.id)
sa.Index("ix_mentions_problem_id", mentions.c.problem_id)
sa.Index("ix_mentions_created_at", mentions.c.created_at)

# A mention's link, spelt as its index spells it: neither database takes an expression's index for another spelling.
# PostgreSQL's is a hash, since a B-tree refuses the row of a link that is longer than 2,700 bytes.
LINK = {"sqlite": "json_extract(data, '$.url')", "postgresql": "(data ->> 'url')"}


class Link(sa.ColumnElement[str]):
    """The link of a mention, as an expression in the words of the database at hand."""

    inherit_cache = True
    type = sa.Text()


@compiles(Link)
def _spelt(_element: Link, compiler: Any, **_: Any) -> str:
    return LINK[compiler.dialect.name]


sa.Index("ix_mentions_link", Link(), _table=mentions, postgresql_using="hash")

# An author as handles are held against each other (`triage.person.account`), spelt as its index spells it.
ACCOUNT = {"sqlite": "lower(author)", "postgresql": 'lower(author COLLATE "C")'}


class Account(sa.ColumnElement[str]):
    """The account that wrote a mention, as an expression in the words of the database at hand."""

    inherit_cache = True
    type = sa.Text()


@compiles(Account)
def _named(_element: Account, compiler: Any, **_: Any) -> str:
    return ACCOUNT[compiler.dialect.name]


sa.Index("ix_mentions_account", Account(), _table=mentions)

# What is searched for words. SQLite keeps an index of its own, a table without our rows, which triggers keep true, whoever writes.
# PostgreSQL's is a column that the database itself fills: to take a post apart anew each time that a row is looked at costs more than
# all else. Signs that its parser takes for parts of links and paths become spaces, so that both find the same words, and what comes
# after 50,000 letters is left out, since a vector has an end.
FTS = "mentions_fts"
SIGNS = "/._-@+~#&;=?<>:"
AUTHOR = "by0"  # stands before each word of the author once more, so that their posts are found without reading those that name them
_SPACES = f"'{SIGNS}', '{' ' * len(SIGNS)}'"
_AUTHOR = f"translate(author, {_SPACES})"
_TEXT = f"translate(left(text, 50000), {_SPACES})"
SEARCH = f"to_tsvector('simple', (((replace(' ' || {_AUTHOR}, ' ', ' {AUTHOR}') || ' ') || {_AUTHOR}) || ' ') || {_TEXT})"


class Search(sa.ColumnElement[str]):
    """The words of a mention, on PostgreSQL."""

    inherit_cache = True
    type = sa.Text()


@compiles(Search, "postgresql")
def _searched(_element: Search, _compiler: Any, **_: Any) -> str:
    return "mentions.words"


def is_described(name: str | None, kind: str, _parents: Any = None) -> bool:
    """Whether this file describes what has that name: neither SQLite's tables for the search nor PostgreSQL's column and its index."""
    if kind == "table":
        return name is None or not name.startswith(FTS)
    return (kind, name) not in (("column", "words"), ("index", "ix_mentions_search"))


# Under which id each of our sources saw a mention. The first one answers it.
sightings = sa.Table(
    "sightings",
    metadata,
    sa.Column("source", sa.Text, primary_key=True),
    sa.Column("remote_id", sa.Text, primary_key=True),
    sa.Column("mention_id", Id, sa.ForeignKey("mentions.id"), nullable=False),
    sa.Column("seen_at", Utc, nullable=False),
)
sa.Index("ix_sightings_mention_id", sightings.c.mention_id)

# What a post was each time that it changed: the bytes as they came (zlib) and the text that we made of them.
revisions = sa.Table(
    "revisions",
    metadata,
    sa.Column("mention_id", Id, sa.ForeignKey("mentions.id"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("raw", sa.LargeBinary, nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("seen_at", Utc, nullable=False),
)

verdicts = sa.Table(
    "verdicts",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("mention_id", Id, sa.ForeignKey("mentions.id"), nullable=False),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("label", sa.Text, nullable=False),
    sa.Column("confidence", sa.Float, nullable=False),
    sa.Column("sure", sa.Boolean, nullable=False),
    sa.Column("by", sa.Text, nullable=False),
    sa.Column("by_person", sa.Boolean, nullable=False),
    sa.Column("data", sa.JSON, nullable=False),
    sa.Column("at", Utc, nullable=False),
)
sa.Index("ix_verdicts_mention_id", verdicts.c.mention_id, verdicts.c.id)
sa.Index(
    "ix_verdicts_by_person",
    verdicts.c.mention_id,
    verdicts.c.id,
    sqlite_where=verdicts.c.by_person,
    postgresql_where=verdicts.c.by_person,
)

problems = sa.Table(
    "problems",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("thread", sa.Text, nullable=False, unique=True),
    sa.Column("created_at", Utc, nullable=False),
    sa.Column("tracker", sa.Text),
    sa.Column("ticket_id", sa.Text),
    sa.Column("ticket", sa.JSON),  # key, url, status, resolution, fix versions as last read
)
sa.Index("ix_problems_ticket", problems.c.tracker, problems.c.ticket_id)

# The key by which people know a ticket, spelt as its index spells it.
TICKET_KEY = {"sqlite": "json_extract(ticket, '$.key')", "postgresql": "(ticket ->> 'key')"}


class TicketKey(sa.ColumnElement[str]):
    """The key of a problem's ticket, as an expression in the words of the database at hand."""

    inherit_cache = True
    type = sa.Text()


@compiles(TicketKey)
def _keyed(_element: TicketKey, compiler: Any, **_: Any) -> str:
    return TICKET_KEY[compiler.dialect.name]


sa.Index("ix_problems_ticket_key", TicketKey(), _table=problems)

# One alert, from when it was raised until it is over. At most one of a name and subject is open.
alerts = sa.Table(
    "alerts",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("severity", sa.Text, nullable=False),
    sa.Column("summary", sa.Text, nullable=False),
    sa.Column("data", sa.JSON, nullable=False),
    sa.Column("opened_at", Utc, nullable=False),
    sa.Column("closed_at", Utc),
)
sa.Index(
    "uq_alerts_open",
    alerts.c.name,
    alerts.c.subject,
    unique=True,
    sqlite_where=alerts.c.closed_at.is_(None),
    postgresql_where=alerts.c.closed_at.is_(None),
)

# The outbox and the human queue: one table. `due_at` is set while a machine has something to do with the row.
actions = sa.Table(
    "actions",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("key", sa.Text, nullable=False, unique=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("via", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("mention_id", Id, sa.ForeignKey("mentions.id")),
    sa.Column("problem_id", Id, sa.ForeignKey("problems.id")),
    sa.Column("alert_id", Id, sa.ForeignKey("alerts.id")),
    sa.Column("after_id", Id, sa.ForeignKey("actions.id")),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("rule", sa.Text, nullable=False),
    sa.Column("payload", sa.JSON, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False, server_default="0"),
    sa.Column("due_at", Utc),
    sa.Column("owner", sa.Text),
    sa.Column("created_at", Utc, nullable=False),
    sa.Column("intent_at", Utc),
    sa.Column("first_intent_at", Utc),
    sa.Column("unknown_at", Utc),
    sa.Column("looks", sa.Integer, nullable=False, server_default="0"),
    sa.Column("retried", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("remote_id", sa.Text),
    sa.Column("remote_key", sa.Text, nullable=False, server_default=""),
    sa.Column("url", sa.Text, nullable=False, server_default=""),
    sa.Column("error", sa.Text, nullable=False, server_default=""),
    sa.Column("closed_at", Utc),
    sa.Column("closed_by", sa.Text, nullable=False, server_default=""),
    sa.Column("marker", sa.Text),  # what it carried when it was first sent, whatever the install's secret is now
)
sa.Index(
    "ix_actions_due",
    actions.c.state,
    actions.c.due_at,
    actions.c.id,
    sqlite_where=actions.c.due_at.is_not(None),
    postgresql_where=actions.c.due_at.is_not(None),
)
# The queue's order. SQLite takes a partial index only for a query that holds the index's own condition, word for word.
OPEN_STATES = ("planned", "sending", "doubt", "rejected", "parked")
OPEN = actions.c.state.in_([sa.literal_column(f"'{state}'") for state in OPEN_STATES])
sa.Index("ix_actions_open", actions.c.created_at, actions.c.id, sqlite_where=OPEN, postgresql_where=OPEN)
_sending = sa.text("state = 'sending'")  # asked once a second by every worker
sa.Index("ix_actions_sending", actions.c.id, sqlite_where=_sending, postgresql_where=_sending)
sa.Index("ix_actions_mention_id", actions.c.mention_id)
sa.Index("ix_actions_problem_id", actions.c.problem_id)
sa.Index(
    "ix_actions_after_id",
    actions.c.after_id,
    sqlite_where=actions.c.after_id.is_not(None),
    postgresql_where=actions.c.after_id.is_not(None),
)
sa.Index(
    "ix_actions_alert_id",
    actions.c.alert_id,
    sqlite_where=actions.c.alert_id.is_not(None),
    postgresql_where=actions.c.alert_id.is_not(None),
)
sa.Index(
    "ix_actions_remote",
    actions.c.via,
    actions.c.remote_id,
    sqlite_where=actions.c.remote_id.is_not(None),
    postgresql_where=actions.c.remote_id.is_not(None),
)
sa.Index(
    "ix_actions_intent",
    actions.c.kind,
    actions.c.first_intent_at,
    sqlite_where=actions.c.first_intent_at.is_not(None),
    postgresql_where=actions.c.first_intent_at.is_not(None),
)

attempts = sa.Table(
    "attempts",
    metadata,
    sa.Column("action_id", Id, sa.ForeignKey("actions.id"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("owner", sa.Text, nullable=False),
    sa.Column("started_at", Utc, nullable=False),
    sa.Column("ended_at", Utc),
    sa.Column("outcome", sa.Text, nullable=False, server_default=""),
    sa.Column("detail", sa.Text, nullable=False, server_default=""),
)

# Append-only: who did what, and why. `triage show` tells it in order.
audit = sa.Table(
    "audit",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("at", Utc, nullable=False),
    sa.Column("who", sa.Text, nullable=False),
    sa.Column("what", sa.Text, nullable=False),
    sa.Column("mention_id", Id),
    sa.Column("action_id", Id),
    sa.Column("detail", sa.Text, nullable=False, server_default=""),
)
sa.Index(
    "ix_audit_mention_id",
    audit.c.mention_id,
    sqlite_where=audit.c.mention_id.is_not(None),
    postgresql_where=audit.c.mention_id.is_not(None),
)
sa.Index(
    "ix_audit_action_id", audit.c.action_id, sqlite_where=audit.c.action_id.is_not(None), postgresql_where=audit.c.action_id.is_not(None)
)

# The processes that claim work. Whether one is alive is asked of its lock, not of this table.
owners = sa.Table(
    "owners",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("host", sa.Text, nullable=False),
    sa.Column("pid", sa.Integer, nullable=False),
    sa.Column("role", sa.Text, nullable=False),
    sa.Column("started_at", Utc, nullable=False),
    sa.Column("seen_at", Utc, nullable=False),
)

# Classifiers that were trained here, whole, so that every worker and every backup has them. At most one is active; the one that
# ships acts while none is. `state`: candidate, shadow, active, retired, refused. `gate` is the table by which it was let in or not.
models = sa.Table(
    "models",
    metadata,
    sa.Column("version", sa.Text, primary_key=True),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("card", sa.JSON, nullable=False),
    sa.Column("files", sa.LargeBinary, nullable=False),  # a zip of the model's folder
    sa.Column("gate", sa.JSON),
    sa.Column("compared", sa.Integer, nullable=False, server_default="0"),  # mentions that it judged in the shadow
    sa.Column("made_at", Utc, nullable=False),
    sa.Column("made_by", sa.Text, nullable=False),
    sa.Column("changed_at", Utc, nullable=False),
    sa.Column("changed_by", sa.Text, nullable=False),
)
for _state in ("active", "shadow"):
    _is = sa.text(f"state = '{_state}'")
    sa.Index(f"uq_models_{_state}", models.c.state, unique=True, sqlite_where=_is, postgresql_where=_is)

# What a challenger in the shadow would have said, where it is something else than what was said.
disagreements = sa.Table(
    "disagreements",
    metadata,
    sa.Column("version", sa.Text, primary_key=True),
    sa.Column("mention_id", Id, sa.ForeignKey("mentions.id"), primary_key=True),
    sa.Column("label", sa.Text, nullable=False),
    sa.Column("confidence", sa.Float, nullable=False),
    sa.Column("sure", sa.Boolean, nullable=False),
    sa.Column("at", Utc, nullable=False),
)

# The blind audit: verdicts drawn by lot, shown to a person without their label. `answer` is what the person said.
samples = sa.Table(
    "samples",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("mention_id", Id, sa.ForeignKey("mentions.id"), nullable=False),
    sa.Column("verdict_id", Id, sa.ForeignKey("verdicts.id"), nullable=False, unique=True),
    sa.Column("rule", sa.Text, nullable=False),
    sa.Column("digest", sa.Text, nullable=False, server_default=""),  # the wording of a rule that earns its autonomy
    sa.Column("label", sa.Text, nullable=False),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("alone", sa.Boolean, nullable=False),  # whether a machine acted on the verdict without asking anybody
    sa.Column("share", sa.Float, nullable=False),  # the chance with which it was drawn
    sa.Column("drawn_at", Utc, nullable=False),
    sa.Column("answer", sa.Text),
    sa.Column("answered_by", sa.Text, nullable=False, server_default=""),
    sa.Column("answered_at", Utc),
)
sa.Index("ix_samples_mention_id", samples.c.mention_id)
sa.Index("ix_samples_rule", samples.c.rule, samples.c.digest, samples.c.answered_at)
sa.Index("ix_samples_open", samples.c.id, sqlite_where=samples.c.answer.is_(None), postgresql_where=samples.c.answer.is_(None))

# Rules that earn their autonomy: whether one has it now, for which wording of the rule, and why.
autonomy = sa.Table(
    "autonomy",
    metadata,
    sa.Column("rule", sa.Text, primary_key=True),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("earned", sa.Boolean, nullable=False),
    sa.Column("changed_at", Utc, nullable=False),
    sa.Column("why", sa.Text, nullable=False),
)

# The people who use the queue. `name` is what every trail holds, so nobody is ever deleted: they are disabled.
people = sa.Table(
    "people",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    sa.Column("shown", sa.Text, nullable=False, server_default=""),
    sa.Column("role", sa.Text, nullable=False),
    sa.Column("password", sa.Text, nullable=False, server_default=""),  # argon2id, with its salt and its costs
    sa.Column("zone", sa.Text, nullable=False, server_default="UTC"),
    sa.Column("handles", sa.JSON, nullable=False),  # their own accounts on platforms
    sa.Column("away", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("made_at", Utc, nullable=False),
    sa.Column("disabled_at", Utc),
    sa.Column("seen_at", Utc),
)

# Who is logged in. The cookie holds the token, this the digest of it, so that a stolen table lets nobody in.
sessions = sa.Table(
    "sessions",
    metadata,
    sa.Column("digest", sa.Text, primary_key=True),
    sa.Column("person_id", Id, sa.ForeignKey("people.id"), nullable=False),
    sa.Column("made_at", Utc, nullable=False),
    sa.Column("seen_at", Utc, nullable=False),
    sa.Column("address", sa.Text, nullable=False, server_default=""),
    sa.Column("agent", sa.Text, nullable=False, server_default=""),
)
sa.Index("ix_sessions_person_id", sessions.c.person_id)

# Personal tokens of the API, and invitations: a one-time token that makes a person.
tokens = sa.Table(
    "tokens",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("person_id", Id, sa.ForeignKey("people.id"), nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("digest", sa.Text, nullable=False, unique=True),
    sa.Column("made_at", Utc, nullable=False),
    sa.Column("used_at", Utc),
    sa.Column("ended_at", Utc),
)
sa.Index("ix_tokens_person_id", tokens.c.person_id)
invitations = sa.Table(
    "invitations",
    metadata,
    sa.Column("digest", sa.Text, primary_key=True),
    sa.Column("role", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False, server_default=""),  # set: it is a new password for this person
    sa.Column("made_by", sa.Text, nullable=False),
    sa.Column("made_at", Utc, nullable=False),
    sa.Column("ends_at", Utc, nullable=False),
    sa.Column("used_at", Utc),
)

# Log-ins that failed, by account and by address.
refusals = sa.Table(
    "refusals",
    metadata,
    sa.Column("subject", sa.Text, primary_key=True),
    sa.Column("count", sa.Integer, nullable=False),
    sa.Column("last_at", Utc, nullable=False),
)

# What people have to do with a mention beside its actions. A row comes with the first thing that somebody does.
items = sa.Table(
    "items",
    metadata,
    sa.Column("mention_id", Id, sa.ForeignKey("mentions.id"), primary_key=True),
    sa.Column("assignee", sa.Text),
    sa.Column("claimed_by", sa.Text),  # who is answering it now
    sa.Column("claimed_at", Utc),
    sa.Column("snoozed_until", Utc),
    sa.Column("snoozed_by", sa.Text, nullable=False, server_default=""),
    sa.Column("until_reply", sa.Boolean, nullable=False, server_default=sa.false()),  # snoozed until the author writes again
    sa.Column("answered_by", sa.Text, nullable=False, server_default=""),
    sa.Column("answered_at", Utc),
)
for _name in ("assignee", "claimed_by", "snoozed_until", "answered_at"):
    _set = items.c[_name].is_not(None)
    sa.Index(f"ix_items_{_name}", items.c[_name], sqlite_where=_set, postgresql_where=_set)

sa.Index("ix_items_until_reply", items.c.mention_id, sqlite_where=items.c.until_reply, postgresql_where=items.c.until_reply)

# Who has an item open right now, and whether they are typing. Rows go stale by themselves.
presence = sa.Table(
    "presence",
    metadata,
    sa.Column("mention_id", Id, sa.ForeignKey("mentions.id"), primary_key=True),
    sa.Column("person", sa.Text, primary_key=True),
    sa.Column("typing_at", Utc),
    sa.Column("seen_at", Utc, nullable=False),
)
sa.Index("ix_presence_seen_at", presence.c.seen_at)

# Internal notes. No connector ever gets a row of this table.
notes = sa.Table(
    "notes",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("mention_id", Id, sa.ForeignKey("mentions.id"), nullable=False),
    sa.Column("by", sa.Text, nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("to", sa.JSON, nullable=False),  # the colleagues that it names
    sa.Column("at", Utc, nullable=False),
)
sa.Index("ix_notes_mention_id", notes.c.mention_id, notes.c.id)

# What people are writing, one draft a person and item, kept until it is sent or thrown away.
drafts = sa.Table(
    "drafts",
    metadata,
    sa.Column("mention_id", Id, sa.ForeignKey("mentions.id"), primary_key=True),
    sa.Column("person", sa.Text, primary_key=True),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("at", Utc, nullable=False),
)

# Answers that somebody else has to let go first. The action waits, planned and without a time, until it is decided.
approvals = sa.Table(
    "approvals",
    metadata,
    sa.Column("action_id", Id, sa.ForeignKey("actions.id"), primary_key=True),
    sa.Column("role", sa.Text, nullable=False),  # who may decide; a role, or the name of a group in config
    sa.Column("asked_by", sa.Text, nullable=False),
    sa.Column("asked_at", Utc, nullable=False),
    sa.Column("revision", sa.Integer, nullable=False),  # the post's, which the answer was written for
    sa.Column("decision", sa.Text),  # approved, refused, void
    sa.Column("decided_by", sa.Text, nullable=False, server_default=""),
    sa.Column("decided_at", Utc),
    sa.Column("why", sa.Text, nullable=False, server_default=""),
)
_undecided = approvals.c.decision.is_(None)
sa.Index("ix_approvals_open", approvals.c.action_id, sqlite_where=_undecided, postgresql_where=_undecided)

# Lists that somebody saved: the filters as the address holds them.
saved = sa.Table(
    "saved",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("person", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("query", sa.Text, nullable=False),
    sa.Column("at", Utc, nullable=False),
    sa.UniqueConstraint("person", "name"),
)

# Forms that were carried out, so that one sent twice acts once. Kept for a day.
forms = sa.Table(
    "forms",
    metadata,
    sa.Column("once", sa.Text, primary_key=True),
    sa.Column("person", sa.Text, nullable=False),
    sa.Column("at", Utc, nullable=False),
)
