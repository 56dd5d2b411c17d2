"""Alembic's environment: bring the tables of a store up to the newest revision, inside the caller's transaction."""

from __future__ import annotations

from pathlib import Path

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from stoker.store import instance_tables, memory_tables
from stoker.store.schema import VERSION_TABLE


def upgrade(connection: Connection, to: str = "head") -> None:
    """Run the migrations up to `to` that `connection`'s database lacks. The caller holds the write lock and commits."""
    script = ScriptDirectory(str(Path(__file__).parent))
    (metadata,) = {instance_tables.instances.metadata, memory_tables.threads.metadata}
    environment = EnvironmentContext(Config(), script, fn=lambda revision, _: script._upgrade_revs(to, revision))
    with environment:
        environment.configure(
            connection=connection,
            target_metadata=metadata,
            version_table=VERSION_TABLE,
            render_as_batch=True,
        )
        environment.run_migrations()
