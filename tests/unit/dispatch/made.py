# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rows and replies as a test needs them, with everything else ordinary."""

from __future__ import annotations

from typing import Any

from stoker.dispatch import NodeInfo, NodeResult
from stoker.store import AttemptRow, CheckpointRow, JobRow, NodeRow


def job(id: str = "a-2222", **fields: Any) -> JobRow:  # noqa: A002
    spec = {"schema": "stoker.spec/1", "job": id, "uid": f"uid-{id}", "argv": ["true"], "gpus": fields.pop("gpus", 0)}
    base: dict[str, Any] = dict.fromkeys(JobRow.__dataclass_fields__)
    base.update(
        id=id, uid=f"uid-{id}", number=1, name="a", spec=spec, attempt=0, state="queued", max_retries=0, retries_used=0,
        priority=0, created_at=0.0, updated_at=0.0,
    )  # fmt: skip
    return JobRow(**{**base, **fields})


def attempt(of: JobRow, **fields: Any) -> AttemptRow:
    base: dict[str, Any] = dict.fromkeys(AttemptRow.__dataclass_fields__)
    base.update(
        job_id=of.id, number=of.attempt, node=of.node or "n1", state="running", claimed_at=0.0, confirmed_at=1.0,
        log_start=0, log_end=0,
    )  # fmt: skip
    return AttemptRow(**{**base, **fields})


def checkpoint(of: JobRow, letter: str, **fields: Any) -> CheckpointRow:
    """One whose digest is 64 times this letter."""
    base: dict[str, Any] = dict.fromkeys(CheckpointRow.__dataclass_fields__)
    base.update(job_id=of.id, of_job=of.id, attempt=1, node="n1", digest=letter * 64, name="out", files=1, bytes=1)
    return CheckpointRow(**{**base, **fields})


def node(name: str, *groups: str) -> NodeInfo:
    return NodeInfo(name, groups)


def known(name: str, gpus: int | None = None, **fields: Any) -> NodeRow:
    facts = {} if gpus is None else {"gpus": [{"uuid": f"GPU-{index}"} for index in range(gpus)]}
    return NodeRow(**{
        "name": name, "facts": facts, "last_seen": 1.0, "unreachable_since": None, "unreachable_message": None,
        "misses": 0,
        **fields,
    })  # fmt: skip


def observation(of: JobRow, state: str, number: int | None = None, **fields: Any) -> dict[str, Any]:
    return {
        "schema": "stoker.observation/1", "job": of.id, "uid": of.uid, "attempt": number or of.attempt or 1,
        "state": state,
        "boot_id": "boot-1", **fields,
    }  # fmt: skip


def reply(
    *attempts: dict[str, Any],
    orders: tuple[dict[str, Any], ...] = (),
    boot: str = "boot-1",
    asked: tuple[str, ...] = (),
    **fields: Any,
) -> NodeResult:
    body = {
        "schema": "stoker.reply/1", "ok": True, "attempts": list(attempts), "orders": list(orders), "logs": {},
        "node": {"hostname": "h", "boot": {"boot_id": boot}}, **fields,
    }  # fmt: skip
    return NodeResult(reply=body, request={"observe": {"jobs": list(asked)}})


def refused(
    of: JobRow, code: str, message: str = "it says no", kind: str = "start", number: int | None = None
) -> dict[str, Any]:
    error = {"code": code, "message": message, "next": None}
    return {
        "order": kind,
        "job": of.id,
        "attempt": number or of.attempt or 1,
        "ok": False,
        "changed": False,
        "error": error,
    }


def taken(of: JobRow, kind: str = "start", number: int | None = None) -> dict[str, Any]:
    return {
        "order": kind,
        "job": of.id,
        "attempt": number or of.attempt or 1,
        "ok": True,
        "changed": True,
        "error": None,
    }
