"""Where jobs ran that had the same files, image or data: what a node then has already."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, Text, or_, select, type_coerce

from stoker.store import schema


def ran_with(connection: Connection, words: Mapping[str, str]) -> dict[str, frozenset[str]]:
    """By key, the nodes on which an attempt began of a job whose spec or wishes hold the words of that key.

    Words are a piece of JSON as it is stored, such as `"digest": "4f1c..."`: a quote inside a text is escaped there, so
    that no argument of a command is taken for them.
    """
    jobs, attempts = schema.jobs, schema.attempts
    found = {}
    for key, text in words.items():
        spec, wants = (
            type_coerce(column, Text).contains(text, autoescape=True) for column in (jobs.c.spec, jobs.c.wants)
        )
        query = (
            select(attempts.c.node).distinct().join(jobs, jobs.c.id == attempts.c.job_id)
            .where(attempts.c.started_at.is_not(None), or_(spec, wants))
        )  # fmt: skip
        found[key] = frozenset(connection.execute(query).scalars())
    return found
