#!/usr/bin/python
# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: node_info
short_description: Say what a node is doing now, its GPUs and containers included
version_added: 0.1.0
author: Stoker contributors (@stoker)
description:
  - Reads processors, memory, disks, network, GPUs and containers of a node in one round trip.
  - What cannot be read is null and has its reason beside it. It never stands for zero.
  - GPUs are read from NVML where the node's Python has C(pynvml) (package C(nvidia-ml-py)), else from C(nvidia-smi).
    A driver that hangs costs ten seconds, and the other parts are told all the same.
extends_documentation_fragment:
  - stoker.fleet.node
attributes:
  check_mode:
    support: full
  diff_mode:
    support: N/A
  idempotent:
    support: full
options:
  parts:
    description: What to read; by default all of it.
    type: list
    elements: str
    choices: [cpu, memory, disks, network, gpus, containers]
    default: [cpu, memory, disks, network, gpus, containers]
notes:
  - On a node that is a container, the host variable C(stoker_proc_dir) names the folder where the C(/proc) of the
    machine around it is mounted (for example C(/host/proc)); processors, memory and network are then those of the
    machine.
  - Sizes are bytes, those of GPUs MiB; clocks are MHz, temperatures degrees Celsius, power watts.
seealso:
  - module: stoker.fleet.job_info
"""

EXAMPLES = r"""
- name: How are the machines?
  stoker.fleet.node_info:
  register: now

- name: Refuse to go on with a disk that is nearly full
  ansible.builtin.assert:
    that: now.node.disks | selectattr('warn', 'true') | length == 0

- name: Ask for the GPUs alone
  stoker.fleet.node_info:
    parts: [gpus]
  register: now
"""

RETURN = r"""
node:
  description:
    - Facts of the node. For each part that was asked, its value, and beside it C(<part>_unknown), null or the reason
      why the part is null.
    - C(gpus) has one entry per GPU, C(source) says whether NVML or C(nvidia-smi) told. A figure that the driver does
      not give is null, and C(unknown) holds the driver's own word for why, such as V([N/A]). A GPU without memory of
      its own (GB10) has the machine's in C(unified_memory).
    - C(held_by) are the jobs that hold a GPU's lock. Each entry of C(processes) names the C(job) that it belongs to,
      null for a process that is not Stoker's.
    - C(quarantine) says until when no job gets a GPU that cannot be trusted, and why; C(health_unknown) what of its
      health could not be checked; C(xids) are the Xid errors of this boot. C(busy) is a process of the list of busy
      ones (host variable C(stoker_busy_processes), by default games) that uses it, or did so up to 30 s ago.
  returned: success
  type: dict
  sample:
    hostname: spark
    uptime_s: 363611.2
    cpu: {count: 20, usable: 20, load: [1.2, 0.8, 0.7], used_pct: 6.1, window_s: 0.2}
    cpu_unknown: null
    memory: {total: 128411234304, available: 96636764160, used: 31774470144, used_pct: 24.7,
      swap_total: 0, swap_used: 0, limit: null}
    disks:
      - {device: /dev/nvme0n1p2, mount: /, type: ext4, total: 3936818806784, free: 220461852160,
        used_pct: 94.1, warn: true, unknown: null}
    network:
      - {name: eth0, rx_bytes: 805883939, rx_errors: 0, tx_bytes: 2030243, tx_errors: 0}
    gpus:
      - index: 0
        uuid: GPU-6f2c1c5e-6d5e-4c8e-9d0e-3f1f0a4f8f11
        name: NVIDIA GB10
        source: nvidia-smi
        mem_total_mib: null
        mem_used_mib: null
        unified_memory: {total_mib: 122462, used_mib: 30302, available_mib: 92160, source: /proc/meminfo}
        util_pct: 96
        temp_c: 61
        power_w: 38.5
        clock_sm_mhz: 2418
        throttle: [software power cap]
        ecc_uncorrected: null
        unknown: {mem_total_mib: "[N/A]", mem_used_mib: "[N/A]", ecc_uncorrected: "[N/A]"}
        held_by: [train-9x4c]
        quarantine: null
        health_unknown: {ecc_uncorrected: "[N/A]", remap_pending: "[N/A]", remap_failure: "[N/A]"}
        xids: []
        busy: null
        processes:
          - {pid: 4711, name: python, mem_mib: 20480, job: train-9x4c, unknown: {}}
    gpus_unknown: null
    containers:
      - {engine: docker, id: 4f1c8d, name: ollama, image: ollama/ollama, state: running, status: Up 2 days}
    containers_unknown: null
"""
