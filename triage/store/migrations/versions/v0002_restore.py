"""What a restored or copied store needs, and the budgets that several processes share.

Columns are only added, each with a default or empty, so that a worker of the version before can go on beside it.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from triage.store.schema import LINK, Utc

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the columns."""
    op.add_column("actions", sa.Column("marker", sa.Text(), nullable=True))
    op.add_column("accounts", sa.Column("budget_limit", sa.Integer(), nullable=True))
    op.add_column("accounts", sa.Column("budget_left", sa.Integer(), nullable=True))
    op.add_column("accounts", sa.Column("budget_reset_at", Utc(), nullable=True))
    op.add_column("accounts", sa.Column("posts_limit", sa.Integer(), nullable=True))
    op.add_column("accounts", sa.Column("posts_left", sa.Integer(), nullable=True))
    op.add_column("accounts", sa.Column("posts_reset_at", Utc(), nullable=True))
    op.add_column("accounts", sa.Column("probe_at", Utc(), nullable=True))
    dialect = op.get_bind().dialect.name
    op.create_index("ix_mentions_link", "mentions", [sa.text(LINK[dialect])], postgresql_using="hash")
