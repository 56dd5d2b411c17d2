# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the scanner looks for in a log without being asked, and example patterns for metrics."""

from __future__ import annotations

from typing import Any

# "0 errors", "no error", "without error" are good news.
_NO = r"(?<!\b0 )(?<!\b[Nn]o )(?<!\bNO )(?<!\b[Ww]ithout )"

# In order: the first that matches a line names it. Every match of `regex` contains one of `needles`; bytes.find skips
# the lines that have none. The regexes start at a literal, so that a line of 64 KiB takes linear time.
DEFAULT_PATTERNS: list[dict[str, Any]] = [
    {
        "name": "cuda-oom",
        "severity": "critical",
        "regex": r"\btorch\.(?:cuda\.)?OutOfMemoryError\b|\bCUDA (?:error: )?out of memory\b"
        r"|\bCUBLAS_STATUS_ALLOC_FAILED\b|\bCUDA_ERROR_OUT_OF_MEMORY\b|\bOOM when allocating\b"
        r"|\bRESOURCE_EXHAUSTED: .{0,80}(?:[Mm]emory|\bOOM\b|allocate)",
        "needles": [
            "OutOfMemoryError",
            "out of memory",
            "CUBLAS_STATUS_ALLOC",
            "_OUT_OF_MEMORY",
            "OOM when",
            "RESOURCE_EXHAUSTED",
        ],
    },
    {
        "name": "host-oom",
        "severity": "critical",
        "regex": r"^\s*Killed\s*$|\bline \d+: +\d+ Killed\b|\bKilled process \d+|\boom[-_]kill\b|\bstd::bad_alloc\b"
        r"|^(?:\[[^\]]{1,40}\]: ?)?(?:[A-Za-z_][\w.]*\.)?_?(?:Array)?MemoryError\b|\bCannot allocate memory\b",
        "needles": ["Killed", "oom-kill", "oom_kill", "bad_alloc", "MemoryError", "Cannot allocate memory"],
    },
    {
        "name": "nccl",
        "severity": "error",
        "regex": r"\bNCCL WARN\b|" + _NO + r"\bNCCL error\b|\bnccl(?:[A-Z][A-Za-z]+)Error\b"
        r"|\bWatchdog caught collective operation timeout\b|\bNCCL (?:operation|communicator) .{0,80}timed out\b",
        "needles": ["NCCL WARN", "NCCL error", "nccl", "Watchdog caught", "NCCL operation", "NCCL communicator"],
    },
    {
        "name": "cuda-error",
        "severity": "critical",
        "regex": _NO + r"\bCUDA error\b(?! ?[:=]? ?0\b)|\billegal memory access\b|\bdevice-side assert\b"
        r"|\bXid\b.{0,60}: \d+|" + _NO + r"\b[Uu]ncorrectable ECC error\b",
        "needles": ["CUDA error", "illegal memory access", "device-side assert", "Xid", "ncorrectable ECC"],
    },
    {
        "name": "segfault",
        "severity": "critical",
        "regex": r"\b[Ss]egmentation fault\b|\bcore dumped\b|\bSIGSEGV\b",
        "needles": ["egmentation fault", "core dumped", "SIGSEGV"],
    },
    {
        "name": "disk-full",
        "severity": "critical",
        "regex": r"\bNo space left on device\b|\bDisk quota exceeded\b",
        "needles": ["No space left", "Disk quota"],
    },
    {
        "name": "child-failed",
        "severity": "error",
        "regex": r"\bChildFailedError\b",
        "needles": ["ChildFailedError"],
    },
    {
        "name": "traceback",
        "severity": "error",
        "regex": r"\bTraceback \(most recent call last\)",
        "needles": ["Traceback (most recent"],
    },
    # Looked for only in the first line after a traceback that is not indented.
    {
        "name": "exception",
        "severity": "error",
        "regex": r"^[A-Za-z_][\w.]*(?:: |:?$)",
        "needles": [],
    },
    {
        "name": "permission",
        "severity": "error",
        "regex": r"\b[Pp]ermission denied\b",
        "needles": ["ermission denied"],
    },
    {
        "name": "connection",
        "severity": "warning",
        "regex": r"\b[Cc]onnection (?:reset|refused)\b",
        "needles": ["onnection re"],
    },
    {
        "name": "nan-loss",
        "severity": "error",
        "regex": r"(?:\b|_)(?i:loss)[\"']?(?: *[:=]| is| became)? *(?:tensor\()?[-+]?(?i:nan)\b",
        "needles": ["nan", "NaN", "NAN"],
    },
    {
        "name": "log-level",
        "severity": "error",
        "regex": _NO + r"(?<![\w-])(?:ERROR|CRITICAL|FATAL)(?![\w=-])(?! *[:=]? *0(?:\.\d*)?\b)",
        "needles": ["ERROR", "CRITICAL", "FATAL"],
    },
]

_NUMBER = r"([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|[-+]?(?i:nan|inf)\b)"
_IS = r"[\"']?\s{0,8}[:= ]\s{0,8}"

# A regex is fastest when it begins with letters that have to be there, and looks back from there.
# A set to start from; nothing is measured that was not asked for. The same in examples/patterns.yml.
EXAMPLE_METRICS: list[dict[str, Any]] = [
    {"name": "loss", "regex": r"(?:train[_/ ]loss|loss(?<![\w/]loss))" + _IS + _NUMBER, "keep": "series"},
    {"name": "val_loss", "regex": r"val(?:id(?:ation)?)?[_/ -]?loss" + _IS + _NUMBER, "keep": "series"},
    {"name": "accuracy", "regex": r"acc(?:uracy)?" + _IS + _NUMBER, "keep": "series"},
    {"name": "learning_rate", "regex": r"(?:lr(?<!\wlr)|learning[_ ]rate)" + _IS + _NUMBER, "keep": "last"},
    {"name": "step", "regex": r"(?:global_step|step(?<!\wstep))" + _IS + r"(\d+)", "keep": "last"},
]
