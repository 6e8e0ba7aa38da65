"""What judging needs: classifiers kept in the store, the blind audit, and rules that earn their autonomy.

Tables are only added, so that a worker of the version before can go on beside it.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from triage.store.schema import Id, Utc

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the tables."""
    op.create_table(
        "models",
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("card", sa.JSON(), nullable=False),
        sa.Column("files", sa.LargeBinary(), nullable=False),
        sa.Column("gate", sa.JSON(), nullable=True),
        sa.Column("compared", sa.Integer(), server_default="0", nullable=False),
        sa.Column("made_at", Utc(), nullable=False),
        sa.Column("made_by", sa.Text(), nullable=False),
        sa.Column("changed_at", Utc(), nullable=False),
        sa.Column("changed_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("version", name="pk_models"),
    )
    for state in ("active", "shadow"):
        where = sa.text(f"state = '{state}'")
        op.create_index(f"uq_models_{state}", "models", ["state"], unique=True, sqlite_where=where, postgresql_where=where)
    op.create_table(
        "disagreements",
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("mention_id", Id, nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("confidence", sa.Float(), nullable=False),
        sa.Column("sure", sa.Boolean(), nullable=False),
        sa.Column("at", Utc(), nullable=False),
        sa.ForeignKeyConstraint(["mention_id"], ["mentions.id"], name="fk_disagreements_mention_id"),
        sa.PrimaryKeyConstraint("version", "mention_id", name="pk_disagreements"),
    )
    op.create_table(
        "samples",
        sa.Column("id", Id, nullable=False),
        sa.Column("mention_id", Id, nullable=False),
        sa.Column("verdict_id", Id, nullable=False),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), server_default="", nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("alone", sa.Boolean(), nullable=False),
        sa.Column("share", sa.Float(), nullable=False),
        sa.Column("drawn_at", Utc(), nullable=False),
        sa.Column("answer", sa.Text(), nullable=True),
        sa.Column("answered_by", sa.Text(), server_default="", nullable=False),
        sa.Column("answered_at", Utc(), nullable=True),
        sa.ForeignKeyConstraint(["mention_id"], ["mentions.id"], name="fk_samples_mention_id"),
        sa.ForeignKeyConstraint(["verdict_id"], ["verdicts.id"], name="fk_samples_verdict_id"),
        sa.PrimaryKeyConstraint("id", name="pk_samples"),
        sa.UniqueConstraint("verdict_id", name="uq_samples_verdict_id"),
    )
    op.create_index("ix_samples_mention_id", "samples", ["mention_id"])
    op.create_index("ix_samples_rule", "samples", ["rule", "digest", "answered_at"])
    unanswered = sa.text("answer IS NULL")
    op.create_index("ix_samples_open", "samples", ["id"], sqlite_where=unanswered, postgresql_where=unanswered)
    op.create_table(
        "autonomy",
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("earned", sa.Boolean(), nullable=False),
        sa.Column("changed_at", Utc(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("rule", name="pk_autonomy"),
    )
