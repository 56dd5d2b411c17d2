# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the machine did while a job ran: the attempt's samples, and Xid errors and memory that ran out meanwhile."""

from __future__ import annotations

import json

from . import facts, gpu_info, kernel_log
from .statedir import NodeError

# So many samples are sent; of more, neighbours are put together.
MOST_SAMPLES = 1000


def look(attempt, state):
    """{samples, interval_s, xids, xids_unknown, oom_at, gpus}; times are Unix seconds by the node's clock."""
    spec, record = attempt.read("spec.json") or {}, attempt.read("exit.json") or {}
    samples = list(_samples(attempt))
    held = (attempt.read("state.json") or {}).get("gpus") or []
    told = {
        **thinned(samples, float(spec.get("sample_interval_s", 10.0)), MOST_SAMPLES),
        "count": len(samples),
        "oom_at": record.get("ended_at") if record.get("oom") else None,
        "gpus": held,
    }
    xids, why = _xids(state, held) if held else ([], None)
    return dict(told, xids=xids, xids_unknown=why)


def _samples(attempt):
    """The whole lines; the newest may be being written."""
    try:
        with open(attempt.file("samples.jsonl"), encoding="ascii", errors="replace") as handle:
            for line in handle:
                try:
                    yield _told(json.loads(line))
                except (ValueError, KeyError, TypeError):
                    continue
    except FileNotFoundError:
        return


def _told(sample):
    gpus = sample.get("gpus")
    return {
        "t": sample["t"],
        "cpu_pct": sample.get("cpu_pct"),
        "disk_free": sample.get("disk_free_bytes"),
        "disk_total": sample.get("disk_total_bytes"),
        "io_pct": sample.get("io_pct"),
        "gpus_unknown": sample.get("gpus_unknown"),
        "gpus": None
        if gpus is None
        else [
            {
                "uuid": gpu["uuid"],
                "index": gpu["index"],
                "util_pct": gpu.get("util_pct"),
                "temp_c": gpu.get("temp_c"),
                "throttle": gpu.get("throttle"),
            }
            for gpu in gpus
        ],
    }


def thinned(samples, interval_s, most):
    """{samples, interval_s}: at most about `most` samples, and what lies between them then.

    Of neighbours the mean load, and every reason to be slow that one of them has, with when it began (`throttle_at`);
    `t` is the time of the first of them, `until` that of the last.
    """
    size = -(-len(samples) // most) if samples else 1
    if size > 1:
        samples = [_one(samples[at : at + size]) for at in range(0, len(samples), size)]
    return {"samples": samples, "interval_s": interval_s * size}


def _one(group):
    made = dict(group[0], until=group[-1]["t"])
    for name, pick in (("cpu_pct", _mean), ("io_pct", max), ("disk_free", min)):
        known = [sample[name] for sample in group if sample[name] is not None]
        made[name] = pick(known) if known else None
    made["gpus_unknown"] = next((sample["gpus_unknown"] for sample in group if sample["gpus_unknown"]), None)
    gpus = {}
    for sample in group:
        for gpu in sample["gpus"] or ():
            gpus.setdefault(gpu["uuid"], []).append((sample["t"], gpu))
    if gpus:
        made["gpus"] = [_one_gpu(told) for told in gpus.values()]
    return made


def _one_gpu(told):
    made = dict(told[0][1])
    for name, pick in (("util_pct", _mean), ("temp_c", max)):
        known = [gpu[name] for _at, gpu in told if gpu[name] is not None]
        made[name] = pick(known) if known else None
    began = {}
    for at, gpu in told:
        for word in gpu["throttle"] or ():
            began.setdefault(word, at)
    known = any(gpu["throttle"] is not None for _at, gpu in told)
    made["throttle"], made["throttle_at"] = sorted(began) if known else None, began
    return made


def _mean(numbers):
    return round(sum(numbers) / len(numbers), 1)


def _xids(state, held):
    """(Xids of this boot on the job's GPUs, why they are unknown)."""
    told, why = kernel_log.xids()
    if told is None:
        return None, why
    try:
        found = gpu_info.read(state, facts.meminfo)
    except NodeError as exc:
        return None, exc.message
    mine = [gpu for gpu in found if gpu["uuid"] in held]
    xids = [
        {"at": xid["at"], "code": xid["code"], "text": xid["text"], "index": gpu["index"]}
        for gpu in mine
        for xid in told.get(kernel_log.bus(gpu.get("bus")), ())
    ]
    lost = len(set(held)) - len(mine)
    why = "{0} of its GPUs are not there any more".format(lost) if lost else None
    return sorted(xids, key=lambda xid: xid["at"]), why
