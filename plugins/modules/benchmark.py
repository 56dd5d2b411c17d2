#!/usr/bin/python
# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: benchmark
short_description: Measure how fast a node computes
version_added: 0.1.0
author: Stoker contributors (@stoker)
description:
  - Measures floating point operations of the processors, copying in memory, and, where torch is there, floating point
    operations of each GPU. Each is the median of three, some four seconds in all.
  - The processors are measured by numpy where the Python has it, else by a BLAS library where the node has one, else by
    a loop in Python itself. C(kernel) says which; figures of different kernels cannot be compared.
  - Jobs that are on the node meanwhile are named in a warning.
extends_documentation_fragment:
  - stoker.fleet.node
attributes:
  check_mode:
    support: none
  diff_mode:
    support: N/A
  idempotent:
    support: N/A
options:
  python:
    description:
      - The Python on the node that measures, such as that of an environment with torch. By default the one that Ansible
        uses.
    type: str
  timeout:
    description: Give up after this many seconds.
    type: int
    default: 180
seealso:
  - module: stoker.fleet.environment
"""

EXAMPLES = r"""
- name: How fast is it?
  stoker.fleet.benchmark:
  register: speed

- name: With the torch of the project's environment
  stoker.fleet.benchmark:
    python: "{{ made.environment.folder }}/bin/python"
  register: speed
"""

RETURN = r"""
benchmark:
  description:
    - The C(measures). C(value) is the median of C(values), null where nothing could be measured; C(unknown) says why.
      C(spread_pct) is how far the three were apart, C(steady) whether that was at most ten percent.
    - C(jobs) were on the node meanwhile.
  returned: success
  type: dict
  sample:
    python: /usr/bin/python3
    jobs: []
    measures:
      - {name: cpu, unit: GFLOPS, kernel: "numpy 2.3.5 matmul, float64, 768x768", device: null, value: 61.2,
        values: [61.2, 60.9, 61.4], spread_pct: 0.8, steady: true, unknown: null}
      - {name: memory, unit: GB/s, kernel: "memmove of 128 MiB, 2 threads, bytes read and written", device: null,
        value: 18.1, values: [18.1, 18.0, 18.3], spread_pct: 1.7, steady: true, unknown: null}
      - {name: gpu, unit: TFLOPS, kernel: null, device: null, value: null, values: [], spread_pct: null, steady: null,
        unknown: "no torch in the Python that measured (/usr)"}
"""
