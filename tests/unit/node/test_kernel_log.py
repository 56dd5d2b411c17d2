# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Xid errors as the driver writes them, of whole GPUs and of instances."""

from __future__ import annotations

import pytest

from ansible_collections.stoker.fleet.plugins.module_utils import kernel_log


@pytest.mark.accepts("B18")
@pytest.mark.parametrize(
    ("where", "text"),
    [
        ("PCI:0000:01:00", "pid='<unknown>', name=<unknown>, Ch 00000008"),
        # A GPU with MIG: the instances follow the address.
        ("PCI:0000:01:00 GPU-I:05 GPU-CI:00", "pid=7194, name=python, Contained: CE User Channel (0x9)"),
        ("PCI:0000:01:00 GPU-I:05", "pid=7194, name=python (x): 7"),
    ],
)
def test_an_xid_is_seen_with_its_gpu_code_and_words(where: str, text: str) -> None:
    line = f"[  123.5] gpu1 kernel: NVRM: Xid ({where}): 94, {text}\n[  124.5] NVRM: GPU at PCI:0000:01:00: GPU-1\n"
    ((gpu, found),) = kernel_log.parse(line).items()
    assert gpu == kernel_log.bus("00000000:01:00.0")
    assert [(xid["code"], xid["boot_s"], xid["text"]) for xid in found] == [(94, 123.5, text)]
