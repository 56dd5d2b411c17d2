"""The tables of what is remembered: threads, thoughts, context, sessions of assistants and their messages.

A row's number is that of the event that tells of it: it is never given twice, in no table, also in a copy of the store.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Double, ForeignKey, Index, Integer, String, Table, UniqueConstraint

from stoker.store.schema import Words, metadata

# On SQLite the row's own number, which its full-text index goes by.
_Number = BigInteger().with_variant(Integer, "sqlite")

threads = Table(
    "threads",
    metadata,
    Column("id", Words, primary_key=True),
    Column("number", BigInteger, nullable=False),
    Column("project", Words, nullable=False),
    Column("title", Words, nullable=False),
    Column("position", Integer, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("updated_at", Double, nullable=False),
    Column("created_by", Words, nullable=False),
    Column("ended_at", Double),
    Column("summary", Words),
)

thoughts = Table(
    "thoughts",
    metadata,
    Column("thread_id", Words, ForeignKey("threads.id", ondelete="CASCADE"), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("number", BigInteger, nullable=False),
    Column("at", Double, nullable=False),
    Column("made_by", Words, nullable=False),
    Column("handoff", Boolean, nullable=False),
    Column("text", Words, nullable=False),
    Index("thoughts_by_number", "number"),
)

context = Table(
    "context",
    metadata,
    Column("number", _Number, primary_key=True, autoincrement=False),
    Column("project", Words, nullable=False),
    Column("key", Words, nullable=False),
    Column("value", Words, nullable=False),
    Column("category", Words, nullable=False),
    Column("pinned", Boolean, nullable=False),
    Column("expires_at", Double),
    Column("created_at", Double, nullable=False),
    Column("updated_at", Double, nullable=False),
    Column("updated_by", Words, nullable=False),
    UniqueConstraint("project", "key"),
)

# What is searched: of each thread, thought and entry of context its words, once each, small, by the same rule on every
# database. The migration makes the index over it: FTS5, kept by triggers, or GIN over a tsvector. A later migration
# that makes this table anew (batch mode on SQLite) has to make the triggers anew, too.
memory_words = Table(
    "memory_words",
    metadata,
    Column("number", _Number, primary_key=True, autoincrement=False),
    Column("kind", String(16), nullable=False),
    Column("project", Words, nullable=False),
    Column("ref", Words, nullable=False),
    Column("words", Words, nullable=False),
    Index("memory_words_by_ref", "kind", "ref"),
)

# One for each client of stoker mcp. It is stale when nothing was heard of it for `lease_s`.
sessions = Table(
    "sessions",
    metadata,
    Column("id", Words, primary_key=True),
    Column("via", String(16), nullable=False),
    Column("who", Words, nullable=False),
    Column("client", Words),
    Column("client_version", Words),
    Column("project", Words, nullable=False),
    Column("host", Words, nullable=False),
    Column("pid", BigInteger, nullable=False),
    Column("lease_s", Double, nullable=False),
    Column("started_at", Double, nullable=False),
    Column("seen_at", Double, nullable=False),
    Column("ended_at", Double),
)

messages = Table(
    "messages",
    metadata,
    Column("number", _Number, primary_key=True, autoincrement=False),
    Column("at", Double, nullable=False),
    Column("sender", Words, nullable=False),
    # A name, not a reference: a message outlives the session it was for.
    Column("recipient", Words, nullable=False),
    Column("text", Words, nullable=False),
    Column("acked_at", Double),
    Column("acked_by", Words),
    Index("messages_by_recipient", "recipient", "acked_at"),
)
