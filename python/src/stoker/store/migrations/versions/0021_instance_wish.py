"""What somebody wants of a rented machine by hand, in a column of its own: its reason began with it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"

_BEGAN = {"by hand: ": "start", "to be stopped: ": "stop"}


def upgrade() -> None:
    """Add the column, and take what it says out of the reasons."""
    op.add_column("instances", sa.Column("wish", sa.String(8)))
    table = sa.table("instances", sa.column("id"), sa.column("why"), sa.column("wish"))
    rows = op.get_bind().execute(sa.select(table.c.id, table.c.why).where(table.c.why.is_not(None))).all()
    for name, why in rows:
        for words, wish in _BEGAN.items():
            if why.startswith(words):
                change = sa.update(table).where(table.c.id == name)
                op.execute(change.values(wish=wish, why=why.removeprefix(words)))
