"""Messages to people."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "notices",
        sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("target", sa.String(63), primary_key=True),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("topic", sa.Text, nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("mood", sa.String(16), nullable=False),
        sa.Column("urgent", sa.Boolean, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("claimed_until", sa.Double),
        sa.Column("ended_at", sa.Double),
        sa.Column("detail", sa.Text),
        sa.Column("read_at", sa.Double),
        sa.Column("archived_at", sa.Double),
    )
    op.create_index("notices_by_state", "notices", ["state", "target"])
    op.create_table(
        "notice_targets",
        sa.Column("name", sa.String(63), primary_key=True),
        sa.Column("seen", sa.BigInteger, nullable=False),
        sa.Column("sent_at", sa.Double),
        sa.Column("failing_since", sa.Double),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("next_try", sa.Double),
        sa.Column("detail", sa.Text),
    )
