"""The store: the truth about what was asked. SQLite by default, PostgreSQL by URL; the same tables and tests for both.

    with open_store() as store:
        job = store.add_job("train", {"argv": ["python", "train.py"]}, target="spark")
        for job in store.jobs(states=("running",)):
            ...

Tables are in `schema`, the rows as values in `rows`, connections and the errors of databases in `engine`. All writing
goes through `Store.write()`, a transaction that is the only writer while it lasts (BEGIN IMMEDIATE on SQLite, an
advisory lock on PostgreSQL), and every transition writes its event in the same transaction. Values of secrets are never
stored, only their names.
"""

from stoker.store.rows import (
    FINISHED_STATES,
    GANG_AGAIN,
    GANG_OVER,
    JOB_STATES,
    LIVE_STATES,
    AlertRow,
    AttemptRow,
    CallRow,
    CheckpointRow,
    EventRow,
    JobOutcome,
    JobRow,
    MemberRow,
    NodeRow,
    NoticeRow,
    NoticeTargetRow,
    PartRow,
    PullRow,
    QueueRow,
    SampleRow,
    SquelchRow,
    TemplateRow,
    TokenRow,
    WorkflowRow,
)
from stoker.store.store import Store, open_store
from stoker.store.transaction import Transaction

__all__ = [
    "FINISHED_STATES",
    "GANG_AGAIN",
    "GANG_OVER",
    "JOB_STATES",
    "LIVE_STATES",
    "AlertRow",
    "AttemptRow",
    "CallRow",
    "CheckpointRow",
    "EventRow",
    "JobOutcome",
    "JobRow",
    "MemberRow",
    "NodeRow",
    "NoticeRow",
    "NoticeTargetRow",
    "PartRow",
    "PullRow",
    "QueueRow",
    "SampleRow",
    "SquelchRow",
    "Store",
    "TemplateRow",
    "TokenRow",
    "Transaction",
    "WorkflowRow",
    "open_store",
]
