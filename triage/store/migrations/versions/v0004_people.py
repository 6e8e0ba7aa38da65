"""What the queue's page needs: people, their sessions and tokens, what they do with a mention beside its actions, and a search.

Tables and indexes are only added, so that a worker of the version before can go on beside it; triggers and a column that
PostgreSQL fills keep the search true behind its back.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from triage.store.schema import ACCOUNT, FTS, SEARCH, TICKET_KEY, Id, Utc

revision = "0004"
down_revision = "0003"

# SQLite's search: an index without rows of its own. Whatever makes the table of mentions anew later must make the triggers anew.
_PUT_IN = f"INSERT INTO {FTS}(rowid, text, author) VALUES (new.id, new.text, new.author);"  # noqa: S608 - our own names
_TAKE_OUT = f"INSERT INTO {FTS}({FTS}, rowid, text, author) VALUES ('delete', old.id, old.text, old.author);"  # noqa: S608
FULL_TEXT = (
    f"CREATE VIRTUAL TABLE {FTS} USING fts5(text, author, content='mentions', content_rowid='id', "
    "tokenize='unicode61 remove_diacritics 0')",
    f"CREATE TRIGGER {FTS}_insert AFTER INSERT ON mentions BEGIN {_PUT_IN} END",
    f"CREATE TRIGGER {FTS}_delete AFTER DELETE ON mentions BEGIN {_TAKE_OUT} END",
    f"CREATE TRIGGER {FTS}_update AFTER UPDATE OF text, author ON mentions "
    f"WHEN old.text IS NOT new.text OR old.author IS NOT new.author BEGIN {_TAKE_OUT} {_PUT_IN} END",
    f"INSERT INTO {FTS}({FTS}) VALUES ('rebuild')",  # noqa: S608
)


def upgrade() -> None:
    """Add the tables."""
    op.create_table(
        "coverage",
        sa.Column("id", Id, nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("from_at", Utc(), nullable=False),
        sa.Column("until_at", Utc(), nullable=False),
        sa.Column("how", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_coverage"),
    )
    op.create_index("ix_coverage_source", "coverage", ["source", "id"], unique=False)
    op.create_table(
        "forms",
        sa.Column("once", sa.Text(), nullable=False),
        sa.Column("person", sa.Text(), nullable=False),
        sa.Column("at", Utc(), nullable=False),
        sa.PrimaryKeyConstraint("once", name="pk_forms"),
    )
    op.create_table(
        "invitations",
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), server_default="", nullable=False),
        sa.Column("made_by", sa.Text(), nullable=False),
        sa.Column("made_at", Utc(), nullable=False),
        sa.Column("ends_at", Utc(), nullable=False),
        sa.Column("used_at", Utc(), nullable=True),
        sa.PrimaryKeyConstraint("digest", name="pk_invitations"),
    )
    op.create_table(
        "people",
        sa.Column("id", Id, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("shown", sa.Text(), server_default="", nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("password", sa.Text(), server_default="", nullable=False),
        sa.Column("zone", sa.Text(), server_default="UTC", nullable=False),
        sa.Column("handles", sa.JSON(), nullable=False),
        sa.Column("away", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("made_at", Utc(), nullable=False),
        sa.Column("disabled_at", Utc(), nullable=True),
        sa.Column("seen_at", Utc(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_people"),
        sa.UniqueConstraint("name", name="uq_people_name"),
    )
    op.create_table(
        "refusals",
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("last_at", Utc(), nullable=False),
        sa.PrimaryKeyConstraint("subject", name="pk_refusals"),
    )
    op.create_table(
        "saved",
        sa.Column("id", Id, nullable=False),
        sa.Column("person", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("query", sa.Text(), nullable=False),
        sa.Column("at", Utc(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_saved"),
        sa.UniqueConstraint("person", "name", name="uq_saved_person_name"),
    )
    op.create_table(
        "sessions",
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("person_id", Id, nullable=False),
        sa.Column("made_at", Utc(), nullable=False),
        sa.Column("seen_at", Utc(), nullable=False),
        sa.Column("address", sa.Text(), server_default="", nullable=False),
        sa.Column("agent", sa.Text(), server_default="", nullable=False),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name="fk_sessions_person_id"),
        sa.PrimaryKeyConstraint("digest", name="pk_sessions"),
    )
    op.create_index("ix_sessions_person_id", "sessions", ["person_id"], unique=False)
    op.create_table(
        "tokens",
        sa.Column("id", Id, nullable=False),
        sa.Column("person_id", Id, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("made_at", Utc(), nullable=False),
        sa.Column("used_at", Utc(), nullable=True),
        sa.Column("ended_at", Utc(), nullable=True),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name="fk_tokens_person_id"),
        sa.PrimaryKeyConstraint("id", name="pk_tokens"),
        sa.UniqueConstraint("digest", name="uq_tokens_digest"),
    )
    op.create_index("ix_tokens_person_id", "tokens", ["person_id"], unique=False)
    op.create_table(
        "drafts",
        sa.Column("mention_id", Id, nullable=False),
        sa.Column("person", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("at", Utc(), nullable=False),
        sa.ForeignKeyConstraint(["mention_id"], ["mentions.id"], name="fk_drafts_mention_id"),
        sa.PrimaryKeyConstraint("mention_id", "person", name="pk_drafts"),
    )
    op.create_table(
        "items",
        sa.Column("mention_id", Id, nullable=False),
        sa.Column("assignee", sa.Text(), nullable=True),
        sa.Column("claimed_by", sa.Text(), nullable=True),
        sa.Column("claimed_at", Utc(), nullable=True),
        sa.Column("snoozed_until", Utc(), nullable=True),
        sa.Column("snoozed_by", sa.Text(), server_default="", nullable=False),
        sa.Column("until_reply", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("answered_by", sa.Text(), server_default="", nullable=False),
        sa.Column("answered_at", Utc(), nullable=True),
        sa.ForeignKeyConstraint(["mention_id"], ["mentions.id"], name="fk_items_mention_id"),
        sa.PrimaryKeyConstraint("mention_id", name="pk_items"),
    )
    op.create_index(
        "ix_items_assignee",
        "items",
        ["assignee"],
        unique=False,
        sqlite_where=sa.text("assignee IS NOT NULL"),
        postgresql_where=sa.text("assignee IS NOT NULL"),
    )
    op.create_index(
        "ix_items_claimed_by",
        "items",
        ["claimed_by"],
        unique=False,
        sqlite_where=sa.text("claimed_by IS NOT NULL"),
        postgresql_where=sa.text("claimed_by IS NOT NULL"),
    )
    op.create_index(
        "ix_items_snoozed_until",
        "items",
        ["snoozed_until"],
        unique=False,
        sqlite_where=sa.text("snoozed_until IS NOT NULL"),
        postgresql_where=sa.text("snoozed_until IS NOT NULL"),
    )
    op.create_index(
        "ix_items_answered_at",
        "items",
        ["answered_at"],
        unique=False,
        sqlite_where=sa.text("answered_at IS NOT NULL"),
        postgresql_where=sa.text("answered_at IS NOT NULL"),
    )
    op.create_index(
        "ix_items_until_reply",
        "items",
        ["mention_id"],
        unique=False,
        sqlite_where=sa.text("until_reply = 1"),
        postgresql_where=sa.text("until_reply"),
    )
    op.create_table(
        "notes",
        sa.Column("id", Id, nullable=False),
        sa.Column("mention_id", Id, nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("to", sa.JSON(), nullable=False),
        sa.Column("at", Utc(), nullable=False),
        sa.ForeignKeyConstraint(["mention_id"], ["mentions.id"], name="fk_notes_mention_id"),
        sa.PrimaryKeyConstraint("id", name="pk_notes"),
    )
    op.create_index("ix_notes_mention_id", "notes", ["mention_id", "id"], unique=False)
    op.create_table(
        "presence",
        sa.Column("mention_id", Id, nullable=False),
        sa.Column("person", sa.Text(), nullable=False),
        sa.Column("typing_at", Utc(), nullable=True),
        sa.Column("seen_at", Utc(), nullable=False),
        sa.ForeignKeyConstraint(["mention_id"], ["mentions.id"], name="fk_presence_mention_id"),
        sa.PrimaryKeyConstraint("mention_id", "person", name="pk_presence"),
    )
    op.create_index("ix_presence_seen_at", "presence", ["seen_at"], unique=False)
    op.create_table(
        "approvals",
        sa.Column("action_id", Id, nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("asked_by", sa.Text(), nullable=False),
        sa.Column("asked_at", Utc(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("decision", sa.Text(), nullable=True),
        sa.Column("decided_by", sa.Text(), server_default="", nullable=False),
        sa.Column("decided_at", Utc(), nullable=True),
        sa.Column("why", sa.Text(), server_default="", nullable=False),
        sa.ForeignKeyConstraint(["action_id"], ["actions.id"], name="fk_approvals_action_id"),
        sa.PrimaryKeyConstraint("action_id", name="pk_approvals"),
    )
    op.create_index(
        "ix_approvals_open",
        "approvals",
        ["action_id"],
        unique=False,
        sqlite_where=sa.text("decision IS NULL"),
        postgresql_where=sa.text("decision IS NULL"),
    )
    op.create_index(
        "ix_verdicts_by_person",
        "verdicts",
        ["mention_id", "id"],
        unique=False,
        sqlite_where=sa.text("by_person = 1"),
        postgresql_where=sa.text("by_person"),
    )
    taken_back = sa.text("deleted_at IS NOT NULL AND author != ''")
    op.create_index(
        "ix_mentions_taken_back", "mentions", ["deleted_at"], unique=False, sqlite_where=taken_back, postgresql_where=taken_back
    )
    dialect = op.get_bind().dialect.name
    op.execute(f"CREATE INDEX ix_mentions_account ON mentions ({ACCOUNT[dialect]})")
    op.execute(f"CREATE INDEX ix_problems_ticket_key ON problems ({TICKET_KEY[dialect]})")
    if dialect == "sqlite":
        for statement in FULL_TEXT:
            op.get_bind().exec_driver_sql(statement)
    else:
        op.get_bind().exec_driver_sql(f"ALTER TABLE mentions ADD COLUMN words tsvector GENERATED ALWAYS AS ({SEARCH}) STORED")
        op.get_bind().exec_driver_sql("CREATE INDEX ix_mentions_search ON mentions USING gin (words)")
