"""Threads, thoughts, context, and the index to search them; sessions of assistants and their messages."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"

_NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Make the tables, and the index of this kind of database."""
    _threads()
    _context()
    _sessions()
    if op.get_bind().dialect.name == "sqlite":
        _sqlite_index()
    else:
        vector = "array_to_tsvector(string_to_array(words, ' '))"
        op.execute(f"CREATE INDEX memory_words_index ON memory_words USING gin ({vector})")


def _threads() -> None:
    op.create_table(
        "threads",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("project", sa.Text, nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("updated_at", sa.Double, nullable=False),
        sa.Column("created_by", sa.Text, nullable=False),
        sa.Column("ended_at", sa.Double),
        sa.Column("summary", sa.Text),
    )
    op.create_table(
        "thoughts",
        sa.Column("thread_id", sa.Text, sa.ForeignKey("threads.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("made_by", sa.Text, nullable=False),
        sa.Column("handoff", sa.Boolean, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
    )
    op.create_index("thoughts_by_number", "thoughts", ["number"])


def _context() -> None:
    op.create_table(
        "context",
        sa.Column("number", _NUMBER, primary_key=True, autoincrement=False),
        sa.Column("project", sa.Text, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.Column("category", sa.Text, nullable=False),
        sa.Column("pinned", sa.Boolean, nullable=False),
        sa.Column("expires_at", sa.Double),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("updated_at", sa.Double, nullable=False),
        sa.Column("updated_by", sa.Text, nullable=False),
        sa.UniqueConstraint("project", "key"),
    )
    op.create_table(
        "memory_words",
        sa.Column("number", _NUMBER, primary_key=True, autoincrement=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("project", sa.Text, nullable=False),
        sa.Column("ref", sa.Text, nullable=False),
        sa.Column("words", sa.Text, nullable=False),
    )
    op.create_index("memory_words_by_ref", "memory_words", ["kind", "ref"])


def _sessions() -> None:
    op.create_table(
        "sessions",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("via", sa.String(16), nullable=False),
        sa.Column("who", sa.Text, nullable=False),
        sa.Column("client", sa.Text),
        sa.Column("client_version", sa.Text),
        sa.Column("project", sa.Text, nullable=False),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("pid", sa.BigInteger, nullable=False),
        sa.Column("lease_s", sa.Double, nullable=False),
        sa.Column("started_at", sa.Double, nullable=False),
        sa.Column("seen_at", sa.Double, nullable=False),
        sa.Column("ended_at", sa.Double),
    )
    op.create_table(
        "messages",
        sa.Column("number", _NUMBER, primary_key=True, autoincrement=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("sender", sa.Text, nullable=False),
        sa.Column("recipient", sa.Text, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("acked_at", sa.Double),
        sa.Column("acked_by", sa.Text),
    )
    op.create_index("messages_by_recipient", "messages", ["recipient", "acked_at"])


def _sqlite_index() -> None:
    """FTS5 over the words that the table holds, kept by triggers: also a copy of the store goes through them."""
    op.execute(
        "CREATE VIRTUAL TABLE memory_index USING fts5(words, content='memory_words', content_rowid='number',"
        " tokenize=\"unicode61 remove_diacritics 0 tokenchars '_'\")"
    )
    add = "INSERT INTO memory_index(rowid, words) VALUES (new.number, new.words);"
    remove = "INSERT INTO memory_index(memory_index, rowid, words) VALUES ('delete', old.number, old.words);"
    for name, moment, does in (
        ("add", "INSERT", add), ("remove", "DELETE", remove), ("change", "UPDATE", f"{remove} {add}"),
    ):  # fmt: skip
        op.execute(f"CREATE TRIGGER memory_words_{name} AFTER {moment} ON memory_words BEGIN {does} END")
