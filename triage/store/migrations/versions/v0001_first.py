"""The first schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from triage.store.schema import Id, Utc

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make all tables."""
    op.create_table(
        "accounts",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("started_at", Utc(), nullable=True),
        sa.Column("cursor", sa.Text(), nullable=True),
        sa.Column("due_at", Utc(), nullable=True),
        sa.Column("rescan_at", Utc(), nullable=True),
        sa.Column("paused_until", Utc(), nullable=True),
        sa.Column("paused_why", sa.Text(), server_default="", nullable=False),
        sa.Column("failures", sa.Integer(), server_default="0", nullable=False),
        sa.Column("refusals", sa.Integer(), server_default="0", nullable=False),
        sa.Column("last_success_at", Utc(), nullable=True),
        sa.Column("last_error", sa.Text(), server_default="", nullable=False),
        sa.Column("held_back", sa.Integer(), nullable=True),
        sa.Column("late_found", sa.Integer(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("name", "role", name=op.f("pk_accounts")),
    )
    op.create_table(
        "alerts",
        sa.Column("id", Id, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("severity", sa.Text(), nullable=False),
        sa.Column("summary", sa.Text(), nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.Column("opened_at", Utc(), nullable=False),
        sa.Column("closed_at", Utc(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alerts")),
    )
    op.create_index(
        "uq_alerts_open",
        "alerts",
        ["name", "subject"],
        unique=True,
        sqlite_where=sa.text("closed_at IS NULL"),
        postgresql_where=sa.text("closed_at IS NULL"),
    )
    op.create_table(
        "audit",
        sa.Column("id", Id, nullable=False),
        sa.Column("at", Utc(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("mention_id", Id, nullable=True),
        sa.Column("action_id", Id, nullable=True),
        sa.Column("detail", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
    )
    op.create_index(
        "ix_audit_action_id",
        "audit",
        ["action_id"],
        unique=False,
        sqlite_where=sa.text("action_id IS NOT NULL"),
        postgresql_where=sa.text("action_id IS NOT NULL"),
    )
    op.create_index(
        "ix_audit_mention_id",
        "audit",
        ["mention_id"],
        unique=False,
        sqlite_where=sa.text("mention_id IS NOT NULL"),
        postgresql_where=sa.text("mention_id IS NOT NULL"),
    )
    op.create_table(
        "meta",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_meta")),
    )
    op.create_table(
        "owners",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("started_at", Utc(), nullable=False),
        sa.Column("seen_at", Utc(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_owners")),
    )
    op.create_table(
        "problems",
        sa.Column("id", Id, nullable=False),
        sa.Column("thread", sa.Text(), nullable=False),
        sa.Column("created_at", Utc(), nullable=False),
        sa.Column("tracker", sa.Text(), nullable=True),
        sa.Column("ticket_id", sa.Text(), nullable=True),
        sa.Column("ticket", sa.JSON(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_problems")),
        sa.UniqueConstraint("thread", name=op.f("uq_problems_thread")),
    )
    op.create_index("ix_problems_ticket", "problems", ["tracker", "ticket_id"], unique=False)
    op.create_table(
        "mentions",
        sa.Column("id", Id, nullable=False),
        sa.Column("uri", sa.Text(), nullable=False),
        sa.Column("platform", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("remote_id", sa.Text(), nullable=False),
        sa.Column("parent_id", sa.Text(), nullable=True),
        sa.Column("thread", sa.Text(), nullable=True),
        sa.Column("problem_id", Id, nullable=True),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("visibility", sa.Text(), nullable=False),
        sa.Column("language", sa.Text(), nullable=True),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.Column("created_at", Utc(), nullable=False),
        sa.Column("stored_at", Utc(), nullable=False),
        sa.Column("read_at", Utc(), nullable=False),
        sa.Column("deleted_at", Utc(), nullable=True),
        sa.Column("quarantined", sa.Text(), nullable=True),
        sa.Column("observe", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("revision", sa.Integer(), server_default="1", nullable=False),
        sa.Column("attempt", sa.Integer(), server_default="0", nullable=False),
        sa.Column("due_at", Utc(), nullable=True),
        sa.Column("reread_at", Utc(), nullable=True),
        sa.ForeignKeyConstraint(["problem_id"], ["problems.id"], name=op.f("fk_mentions_problem_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mentions")),
        sa.UniqueConstraint("uri", name=op.f("uq_mentions_uri")),
    )
    op.create_index("ix_mentions_author", "mentions", ["author", "id"], unique=False)
    op.create_index("ix_mentions_created_at", "mentions", ["created_at"], unique=False)
    op.create_index(
        "ix_mentions_due_at",
        "mentions",
        ["due_at"],
        unique=False,
        sqlite_where=sa.text("due_at IS NOT NULL"),
        postgresql_where=sa.text("due_at IS NOT NULL"),
    )
    op.create_index("ix_mentions_problem_id", "mentions", ["problem_id"], unique=False)
    op.create_index(
        "ix_mentions_quarantined",
        "mentions",
        ["id"],
        unique=False,
        sqlite_where=sa.text("quarantined IS NOT NULL"),
        postgresql_where=sa.text("quarantined IS NOT NULL"),
    )
    op.create_index(
        "ix_mentions_reread_at",
        "mentions",
        ["reread_at"],
        unique=False,
        sqlite_where=sa.text("reread_at IS NOT NULL"),
        postgresql_where=sa.text("reread_at IS NOT NULL"),
    )
    op.create_table(
        "actions",
        sa.Column("id", Id, nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("via", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("mention_id", Id, nullable=True),
        sa.Column("problem_id", Id, nullable=True),
        sa.Column("alert_id", Id, nullable=True),
        sa.Column("after_id", Id, nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("payload", sa.JSON(), nullable=False),
        sa.Column("attempt", sa.Integer(), server_default="0", nullable=False),
        sa.Column("due_at", Utc(), nullable=True),
        sa.Column("owner", sa.Text(), nullable=True),
        sa.Column("created_at", Utc(), nullable=False),
        sa.Column("intent_at", Utc(), nullable=True),
        sa.Column("first_intent_at", Utc(), nullable=True),
        sa.Column("unknown_at", Utc(), nullable=True),
        sa.Column("looks", sa.Integer(), server_default="0", nullable=False),
        sa.Column("retried", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("remote_id", sa.Text(), nullable=True),
        sa.Column("remote_key", sa.Text(), server_default="", nullable=False),
        sa.Column("url", sa.Text(), server_default="", nullable=False),
        sa.Column("error", sa.Text(), server_default="", nullable=False),
        sa.Column("closed_at", Utc(), nullable=True),
        sa.Column("closed_by", sa.Text(), server_default="", nullable=False),
        sa.ForeignKeyConstraint(["after_id"], ["actions.id"], name=op.f("fk_actions_after_id")),
        sa.ForeignKeyConstraint(["alert_id"], ["alerts.id"], name=op.f("fk_actions_alert_id")),
        sa.ForeignKeyConstraint(["mention_id"], ["mentions.id"], name=op.f("fk_actions_mention_id")),
        sa.ForeignKeyConstraint(["problem_id"], ["problems.id"], name=op.f("fk_actions_problem_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_actions")),
        sa.UniqueConstraint("key", name=op.f("uq_actions_key")),
    )
    op.create_index(
        "ix_actions_after_id",
        "actions",
        ["after_id"],
        unique=False,
        sqlite_where=sa.text("after_id IS NOT NULL"),
        postgresql_where=sa.text("after_id IS NOT NULL"),
    )
    op.create_index(
        "ix_actions_alert_id",
        "actions",
        ["alert_id"],
        unique=False,
        sqlite_where=sa.text("alert_id IS NOT NULL"),
        postgresql_where=sa.text("alert_id IS NOT NULL"),
    )
    op.create_index(
        "ix_actions_due",
        "actions",
        ["state", "due_at", "id"],
        unique=False,
        sqlite_where=sa.text("due_at IS NOT NULL"),
        postgresql_where=sa.text("due_at IS NOT NULL"),
    )
    op.create_index(
        "ix_actions_intent",
        "actions",
        ["kind", "first_intent_at"],
        unique=False,
        sqlite_where=sa.text("first_intent_at IS NOT NULL"),
        postgresql_where=sa.text("first_intent_at IS NOT NULL"),
    )
    op.create_index("ix_actions_mention_id", "actions", ["mention_id"], unique=False)
    op.create_index(
        "ix_actions_open",
        "actions",
        ["created_at", "id"],
        unique=False,
        sqlite_where=sa.text("state IN ('planned', 'sending', 'doubt', 'rejected', 'parked')"),
        postgresql_where=sa.text("state IN ('planned', 'sending', 'doubt', 'rejected', 'parked')"),
    )
    op.create_index("ix_actions_problem_id", "actions", ["problem_id"], unique=False)
    op.create_index(
        "ix_actions_sending",
        "actions",
        ["id"],
        unique=False,
        sqlite_where=sa.text("state = 'sending'"),
        postgresql_where=sa.text("state = 'sending'"),
    )
    op.create_index(
        "ix_actions_remote",
        "actions",
        ["via", "remote_id"],
        unique=False,
        sqlite_where=sa.text("remote_id IS NOT NULL"),
        postgresql_where=sa.text("remote_id IS NOT NULL"),
    )
    op.create_table(
        "revisions",
        sa.Column("mention_id", Id, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("raw", sa.LargeBinary(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("seen_at", Utc(), nullable=False),
        sa.ForeignKeyConstraint(["mention_id"], ["mentions.id"], name=op.f("fk_revisions_mention_id")),
        sa.PrimaryKeyConstraint("mention_id", "number", name=op.f("pk_revisions")),
    )
    op.create_table(
        "sightings",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("remote_id", sa.Text(), nullable=False),
        sa.Column("mention_id", Id, nullable=False),
        sa.Column("seen_at", Utc(), nullable=False),
        sa.ForeignKeyConstraint(["mention_id"], ["mentions.id"], name=op.f("fk_sightings_mention_id")),
        sa.PrimaryKeyConstraint("source", "remote_id", name=op.f("pk_sightings")),
    )
    op.create_index("ix_sightings_mention_id", "sightings", ["mention_id"], unique=False)
    op.create_table(
        "verdicts",
        sa.Column("id", Id, nullable=False),
        sa.Column("mention_id", Id, nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("confidence", sa.Float(), nullable=False),
        sa.Column("sure", sa.Boolean(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("by_person", sa.Boolean(), nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.Column("at", Utc(), nullable=False),
        sa.ForeignKeyConstraint(["mention_id"], ["mentions.id"], name=op.f("fk_verdicts_mention_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_verdicts")),
    )
    op.create_index("ix_verdicts_mention_id", "verdicts", ["mention_id", "id"], unique=False)
    op.create_table(
        "attempts",
        sa.Column("action_id", Id, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("started_at", Utc(), nullable=False),
        sa.Column("ended_at", Utc(), nullable=True),
        sa.Column("outcome", sa.Text(), server_default="", nullable=False),
        sa.Column("detail", sa.Text(), server_default="", nullable=False),
        sa.ForeignKeyConstraint(["action_id"], ["actions.id"], name=op.f("fk_attempts_action_id")),
        sa.PrimaryKeyConstraint("action_id", "number", name=op.f("pk_attempts")),
    )
