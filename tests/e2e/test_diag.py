# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A bundle of all nodes: what is known of each, why something is not in it, and no secret."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from cli import Cli
from testbed import PlainNode

# In the environment, in a command, in the settings, in a log of the node's own; the last one has no form at all.
SECRETS = ["hunter22", "abcdef123456", "hf_" + "aBcD" * 8, "opensesame-4711", "correct-horse-battery"]


@pytest.mark.accepts("C57")
def test_a_bundle_has_every_node_that_answers_and_no_secret(
    stoker: Callable[..., Cli], nodes: Callable[..., list[PlainNode]]
) -> None:
    here, away = nodes(2)
    cli = stoker(here, away)
    cli.env |= {"HF_TOKEN": SECRETS[2], "HOOK": f"json://127.0.0.1:9/{SECRETS[3]}", "DB_PASSWORD": SECRETS[4]}
    (cli.folder / "stoker.yml").write_text(
        f"agents: {{coder: {{argv: [coder, --api-key, {SECRETS[1]}], env: {{X: {SECRETS[0]}}}}}}}\n"
        "notify: {targets: {hook: {url_env: HOOK}}, rules: [{events: [job.ended], to: [hook]}]}\n"
    )
    job = cli.run("sh", "-c", "exit 3", "--token", SECRETS[1], options=("--on", here.name))
    assert cli("wait", job).code == 1
    log = here.state_dir / "jobs" / job / "1" / "supervisor.log"
    log.write_text(f"lost the way of {SECRETS[2]}, {SECRETS[4]} and password={SECRETS[0]}\n")
    away.down()
    said = cli("diag", "bundle.tar.gz", "--json")
    assert said.code == 0, said
    told = said.json()
    assert (told["nodes"], told["answered"]) == (2, 1)
    bundle = cli.folder / "bundle.tar.gz"
    assert bundle.stat().st_mode & 0o777 == 0o600
    files = read(bundle)
    assert sorted(files) == told["files"]
    for name, text in files.items():
        for secret in SECRETS:
            assert secret not in text, name
    status = {node["name"]: node for node in json.loads(files["status.json"])["nodes"]}
    assert (status[here.name]["reachable"], status[away.name]["reachable"]) == (True, False)
    assert "lost the way of [redacted], [redacted] and password=[redacted]" in files[f"nodes/{here.name}.log"]
    assert "python3 --version" in files[f"nodes/{here.name}.log"]
    missing = {one["what"]: one["why"] for one in json.loads(files["missing.json"])}
    assert set(missing) == {f"status of {away.name}", f"logs of {away.name}"}
    assert "Connection refused" in missing[f"status of {away.name}"]
    assert job in files["jobs.json"]
    assert "job.failed" in files["events.json"]
    assert json.loads(files["store.json"])["rows"]["jobs"] == 1
    assert json.loads(files["settings.json"])["settings"]["notify.targets.hook.url_env"] == "HOOK"
    assert json.loads(files["versions.json"])["packages"]["ansible-core"]
    again = cli("diag", "bundle.tar.gz")
    assert (again.code, "is there already" in again.err) == (2, True)


def read(bundle: Path) -> dict[str, str]:
    files = {}
    with tarfile.open(bundle) as archive:
        for entry in archive:
            assert entry.mode == 0o600
            stored = archive.extractfile(entry)
            assert stored is not None
            files[entry.name.removeprefix("stoker-diag/")] = stored.read().decode()
    return files
