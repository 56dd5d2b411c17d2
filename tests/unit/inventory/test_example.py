# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The example inventory says what its comments say, and names no setting that nobody reads."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

ROOT = Path(__file__).resolve().parents[3]
EXAMPLE = ROOT / "inventories/example"


def listed() -> dict[str, Any]:
    done = subprocess.run(
        [Path(sys.executable).parent / "ansible-inventory", "-i", EXAMPLE, "--list"], capture_output=True, text=True,
        timeout=180, stdin=subprocess.DEVNULL, check=True,
    )  # fmt: skip
    assert "WARNING" not in done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_the_machines_of_the_dgx_group_have_what_it_says() -> None:
    found = listed()
    variables = found["_meta"]["hostvars"]
    assert found["dgx"]["hosts"] == ["spark", "dgx-01", "dgx-02"]
    for host in found["dgx"]["hosts"]:
        assert variables[host]["stoker_lock_dir"] == "/run/lock/stoker-gpus"
        assert variables[host]["ansible_user"] == "research"
        assert variables[host]["node_container_runtime"] == "docker"
    assert variables["vast-17"]["ansible_port"] == 40017
    assert "stoker_lock_dir" not in variables["rtx-01"]
    assert all(told["ansible_python_interpreter"] == "/usr/bin/python3" for told in variables.values())


def test_every_setting_of_it_is_read_somewhere() -> None:
    role = yaml.safe_load((ROOT / "roles/node/meta/argument_specs.yml").read_text())["argument_specs"]["main"][
        "options"
    ]
    code = (ROOT / "plugins/plugin_utils/node_call.py").read_text()
    for told in listed()["_meta"]["hostvars"].values():
        for name in told:
            known = name.startswith("ansible_") or name in role or re.search(rf'"{name}"', code)
            assert known, f"nobody reads {name}"
