"""Of which account of the provider a rented machine is."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"


def upgrade() -> None:
    """Add the column; of machines of before it is not known until they are seen."""
    op.add_column("instances", sa.Column("account", sa.BigInteger))
