# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plugins in processes that last: the server of assistants, and dispatchers, which tell them what changed."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from cli import Cli, until
from testbed.assistant import assistant, over_stdio
from testbed.plugin_packages import install, install_example

HANGS = '''
    class Plugin:
        """Never comes back from an event."""

        @hookimpl
        def stoker_event(self, context, event):
            with open(context.folder / "begun", "a") as file:
                file.write(f"{event.seq}\\n")
            time.sleep(3600)
'''
RAISES = '''
    class Plugin:
        """Cannot stand jobs."""

        @hookimpl
        def stoker_start(self, context):
            print("this must not reach a client")
            os.write(1, b"nor this")

        @hookimpl
        def stoker_event(self, context, event):
            raise LookupError(f"of {event.type}")
'''
NEVER_STARTS = '''
    class Plugin:
        """Has a bad day."""

        @hookimpl
        def stoker_start(self, context):
            raise OSError("no such device")

        @hookimpl
        def stoker_event(self, context, event):
            (context.folder / "heard").touch()
'''


@pytest.fixture
def here(tmp_path: Path) -> Cli:
    """A command line whose one node is this machine, with the example and plugins that misbehave."""
    site = tmp_path / "site"
    install_example(site)
    install(site, "hangs", HANGS)
    install(site, "raises", RAISES)
    install(site, "unready", NEVER_STARTS)
    inventory = tmp_path / "inventory.yml"
    inventory.write_text(
        "all:\n  hosts:\n    here:\n      ansible_connection: local\n"
        f"      ansible_python_interpreter: {sys.executable}\n      stoker_state_dir: {tmp_path}/node\n"
    )
    cli = Cli(tmp_path, inventory)
    cli.env |= {"PYTHONPATH": str(site), "STOKER_STATE_HOME": str(tmp_path / "state")}
    return cli


@pytest.mark.accepts("C32", "C33")
def test_dispatchers_tell_listeners_what_changed_and_outlive_them(here: Cli) -> None:
    folder = here.folder / "state/plugins"
    loop = here.start("dispatch", "--loop", "--interval", "1s")
    try:
        until(lambda: (folder / "energy/started").exists(), "the start", 180)
        assert here("queue", "add", "--name", "heard", "--", "true").code == 0

        def heard() -> list[list[str]]:
            file = folder / "energy/heard"
            return [line.split() for line in file.read_text().splitlines()] if file.exists() else []

        until(lambda: "job.succeeded" in {kind for _seq, kind, _job in heard()}, "the end of the job to be heard", 120)

        def states() -> dict[str, dict[str, Any]]:
            return {one["name"]: one for one in here("plugins", "--json").json()["plugins"]}

        # They are told one after the other.
        until(lambda: states()["raises"]["state"] == "failed", "the failure", 180)
        told = states()
        assert told["energy"]["state"] == "on"
        assert told["raises"]["reason"].startswith("in event: LookupError: of job.")
        assert told["hangs"]["reason"] == "in event: it did not come back within 10 s"
        assert told["unready"]["reason"] == "in start: OSError: no such device"
        # One event, and while that hangs no other; none for a plugin that did not start.
        assert len((folder / "hangs/begun").read_text().split()) == 1
        assert not (folder / "unready/heard").exists()
    finally:
        loop.send_signal(signal.SIGTERM)
        _out, err = loop.communicate(timeout=120)
    assert loop.returncode == 0
    assert b"the plugin raises failed in event: LookupError: of job." in err
    assert not (folder / "energy/started").exists()
    # What changes while no dispatcher runs is told by the next one, and nothing twice.
    before = heard()
    (here.folder / "stoker.yml").write_text("plugins: {hangs: {enabled: false}}\n")
    assert here("queue", "add", "--name", "later", "--on", "here", "--", "true").code == 0
    here("dispatch")
    assert heard()[: len(before)] == before
    seqs = [int(seq) for seq, _kind, _job in heard()]
    assert len(seqs) > len(before)
    assert seqs == sorted(set(seqs))


@pytest.mark.accepts("C32")
def test_a_package_adds_a_backend_that_is_pushed_to_the_node(here: Cli) -> None:
    text = here.inventory.read_text()
    here.inventory.write_text(f"{text}      stoker_backend: polite\n")
    job = here.run("sh", "-c", "nice; exit 3")
    assert here("wait", job).code == 1
    assert here.job(job)["exit_code"] == 3
    assert int(here("logs", job).out) == min(19, os.getpriority(os.PRIO_PROCESS, 0) + 10)
    here.inventory.write_text(f"{text}      stoker_backend: rude\n")
    said = here("run", "--", "true")
    assert said.code == 1
    assert "no package that is installed here has a backend 'rude'; built in are process, container" in said.err


@pytest.mark.accepts("C32", "C33", "C55")
def test_an_assistant_has_plugins_and_skills(here: Cli) -> None:
    skill = here.folder / "skills/tune/SKILL.md"
    skill.parent.mkdir(parents=True)
    body = "Long. " * 2000
    skill.write_text(f"---\nname: tune\ndescription: Tunes.\n---\nFirst. {body}\n")
    (here.folder / "stoker.yml").write_text("skills: [skills]\nplugins: {runs: {enabled: false}}\n")
    with assistant(over_stdio(here.env, here.folder)) as helper:
        assert (here.folder / "state/plugins/energy/started").exists()
        listed = {tool.name for tool in helper.ask("list_tools").tools}
        assert "energy" in listed
        assert "runs" not in listed
        typed = json.loads(here("energy", "--json").out)
        assert helper.value("energy", do="energy")["value"] == typed["value"]
        resources = {str(one.uri): one for one in helper.ask("list_resources").resources}
        assert "stoker://runs" not in resources
        assert resources["stoker://skills/tune"].description == "Tunes."
        assert "stoker://skills/stoker" in resources

        def read(uri: str) -> str:
            return str(helper.ask("read_resource", uri).contents[0].text)

        assert json.loads(read("stoker://energy"))["value"] == typed["value"]
        assert read("stoker://skills/tune") == f"First. {body}".strip() + "\n"
        skill.write_text("---\nname: tune\ndescription: Tunes better.\n---\nSecond.\n")
        assert read("stoker://skills/tune") == "Second.\n"
        resources = {str(one.uri): one for one in helper.ask("list_resources").resources}
        assert resources["stoker://skills/tune"].description == "Tunes better."
        skill.write_text("---\nname: tuna\ndescription: Tunes.\n---\n")
        assert "stoker://skills/tune" not in {str(one.uri) for one in helper.ask("list_resources").resources}
        (fault,) = helper.value("administration", do="skill check")["value"]["faults"]
        assert "SKILL.md:2: name: 'tuna' is not the name of its folder" in fault["reason"]
    until(lambda: not (here.folder / "state/plugins/energy/started").exists(), "the stop", 180)
