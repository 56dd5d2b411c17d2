# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Workflows as a user has them: on real nodes, whoever is killed meanwhile."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cli import Cli, Said, until
from plays import Plays
from testbed import PlainNode

Stoker = Callable[..., Cli]
# The two in the middle wait for each other: one after the other they would fail.
DIAMOND = r"""
name: diamond
context: {greeting: hello, shout: false}
jobs:
  prep:
    on: n1
    script: |
      echo prep >> $HOME/marks
      echo "the data are in /data/it's $(echo here)"
    outputs: {path: "the data are in (.+)"}
  left: &middle
    needs: prep
    on: n1
    script: |
      echo "begin $ME" >> $HOME/marks
      n=0
      while [ "$(grep -c begin $HOME/marks)" -lt 2 ] && [ $n -lt 1200 ]; do sleep 0.1; n=$((n+1)); done
      [ "$(grep -c begin $HOME/marks)" -ge 2 ] || exit 9
      echo "$ME of $DATA"
      echo "end $ME" >> $HOME/marks
    env: {ME: left, DATA: "{{ parent.prep.outputs.path }}"}
    outputs: {who: "(left|right) of"}
  right:
    <<: *middle
    env: {ME: right, DATA: "{{ parent.prep.outputs.path }}"}
  join:
    needs: [left, right]
    on: n1
    when: parent.left.exit_code == 0 and 'right of' in parent.right.stdout and not context.shout
    argv: [sh, -c, 'echo join >> $HOME/marks; echo "$@"', sh, "{{ context.greeting }}", "{{ parent.left.outputs.who }}",
      "{{ parent.prep.outputs.path }}"]
  never:
    needs: join
    when: context.shout
    argv: [sh, -c, 'echo never >> $HOME/marks']
"""


def put(cli: Cli, text: str, name: str = "w.yml") -> str:
    (cli.folder / name).write_text(text)
    return name


def marks(node: PlainNode) -> list[str]:
    path = Path(node.home, "marks")
    return path.read_text().splitlines() if path.exists() else []


def workflow(cli: Cli, named: str = "", *options: str) -> dict[str, Any]:
    if not named:
        named = cli("workflow", "list", "--json").json()["workflows"][0]["id"]
    found: dict[str, Any] = cli("workflow", "status", named, "--json", *options).json()["workflow"]
    return found


def states(cli: Cli, named: str = "") -> dict[str, str]:
    return {job["step"]: job["state"] for job in workflow(cli, named)["jobs"]}


def last(said: Said) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(said.out.splitlines()[-1])["value"]["workflow"]
    return found


@pytest.mark.accepts("C46", "C47")
@pytest.mark.parametrize("stores", ["sqlite"], indirect=True)
def test_a_diamond_runs_in_order_whoever_is_killed(
    stoker: Stoker, node: PlainNode, stores: Callable[[Cli], None]
) -> None:
    cli = stoker(node)
    stores(cli)
    running = cli.start("workflow", "run", put(cli, DIAMOND))
    until(lambda: "begin left" in marks(node) or "begin right" in marks(node), "the middle runs", 120)
    running.send_signal(signal.SIGKILL)
    running.wait()
    assert states(cli)["never"] == "waiting"
    # Nobody knows of the one that was killed: rounds for all jobs, by another machine.
    other = {"STOKER_STATE_HOME": str(cli.folder / "other")}

    rounds = cli.start("dispatch", "--loop", "--interval", "1s", env=other)
    until(lambda: workflow(cli)["state"] != "running", "the workflow is over", 200)
    rounds.send_signal(signal.SIGINT)
    rounds.communicate(timeout=180)
    found = workflow(cli)
    assert found["state"] == "succeeded", found
    assert [(job["step"], job["state"], job["exit_code"]) for job in found["jobs"]] == [
        ("prep", "succeeded", 0), ("left", "succeeded", 0), ("right", "succeeded", 0), ("join", "succeeded", 0),
        ("never", "skipped", None),
    ]  # fmt: skip
    assert found["jobs"][4]["detail"] == "its condition is false: context.shout"
    told = marks(node)
    assert (told[0], told[-1], sorted(told[1:3])) == ("prep", "join", ["begin left", "begin right"])
    assert sorted(told[3:5]) == ["end left", "end right"]
    assert len(told) == 6, "each ran once"
    assert cli("logs", found["jobs"][3]["job"]).out == "hello left /data/it's here\n"
    drawn = cli("workflow", "draw", found["id"], "--ascii").out
    assert " 1 * prep   succeeded\n   |\n 2 * left   succeeded  <- prep\n" in drawn
    shown = cli("workflow", "status", found["id"])
    assert f"{found['id']}  succeeded after" in shown.out
    assert "4 succeeded, 1 skipped" in shown.out


FAILS_ONCE = """
name: again
jobs:
  a: {argv: [sh, -c, 'echo a >> $HOME/marks']}
  b:
    needs: a
    matrix: {n: [1, 2]}
    argv: [sh, -c, 'echo b$0 >> $HOME/marks; test $0 = 1 || test -e $HOME/mended', "{{ matrix.n }}"]
  c: {needs: b, argv: [sh, -c, 'echo c >> $HOME/marks']}
  rescue: {needs: b, when: parent.b.state == 'failed', argv: [sh, -c, 'echo rescue >> $HOME/marks']}
"""


@pytest.mark.accepts("C46")
def test_what_failed_is_done_again_and_what_succeeded_is_not(stoker: Stoker, node: PlainNode) -> None:
    cli = stoker(node)
    said = cli("workflow", "run", put(cli, FAILS_ONCE), timeout_s=120)
    assert said.code == 1, said
    assert "b n=2  failed (1) on n1" in said.out
    assert "skipped  b failed" in said.out
    first = workflow(cli)
    assert (first["state"], first["counts"]) == ("failed", {"succeeded": 3, "failed": 1, "skipped": 1})
    assert f"next: stoker workflow resume {first['id']} · stoker logs {first['jobs'][2]['job']}" in said.out
    Path(node.home, "mended").touch()
    resumed = cli("workflow", "resume", first["id"])
    assert (resumed.code, f"{first['id']} goes on: 2 of 5 jobs anew" in resumed.out) == (0, True), resumed
    refused = cli("workflow", "resume", first["id"])
    assert (refused.code, "is running" in refused.err) == (2, True)
    watched = cli("workflow", "watch", first["id"], "--json", timeout_s=120)
    assert (watched.code, last(watched)["state"], last(watched)["resumed"]) == (0, "succeeded", 1)
    told = marks(node)
    assert sorted(told) == ["a", "b1", "b2", "b2", "c", "rescue"]
    assert (told[0], told[-1]) == ("a", "c")
    over = cli("workflow", "resume", first["id"])
    assert (over.code, "there is nothing to go on with" in over.err) == (2, True)


@pytest.mark.accepts("C46")
def test_a_workflow_is_cancelled_with_what_runs(stoker: Stoker, node: PlainNode) -> None:
    cli = stoker(node)
    text = (
        "name: long\njobs:\n  a: {argv: [sh, -c, 'echo a >> $HOME/marks; exec sleep 99']}\n  b: {needs: a, argv: [x]}\n"
    )
    said = cli("workflow", "submit", put(cli, text), "--json")
    assert said.code == 0, said
    name = said.json()["workflow"]["id"]
    until(lambda: workflow(cli, name, "--live")["jobs"][0]["state"] == "running", "it runs")
    done = cli("workflow", "cancel", name)
    assert (done.code, done.out.splitlines()[0]) == (0, f"{name} is cancelled"), done
    assert states(cli, name) == {"a": "cancelled", "b": "cancelled"}
    assert cli.job(workflow(cli, name)["jobs"][0]["job"], "--live")["state"] == "cancelled"
    again = cli("workflow", "cancel", name)
    assert (again.code, again.out.splitlines()[0]) == (0, f"{name} was over already: cancelled")


@pytest.mark.accepts("C46", "C47", "C50")
def test_what_is_wrong_is_refused_when_it_is_submitted(stoker: Stoker, node: PlainNode) -> None:
    cli = stoker(node)
    for text, words in (
        ("name: w\njobs:\n  a: {needs: b, argv: [x]}\n  b: {needs: a, argv: [x]}\n",
         "w.yml:3: jobs.a.needs: goes in a circle: a needs b needs a"),
        ("name: w\njobs:\n  a: {argv: [x], neds: []}\n", "w.yml:3: jobs.a.neds: there is no such field. Did you"),
        ("name: w\njobs:\n  a: {argv: [x], when: cycler.__init__}\n", "w.yml:3: jobs.a.when: 'cycler.__init__'"),
        ("name: w\njobs:\n  a: {argv: [x], on: n7}\n", "w.yml:3: jobs.a.on: no node or group 'n7'"),
    ):  # fmt: skip
        for command in ("submit", "run", "validate"):
            said = cli("workflow", command, put(cli, text))
            assert (said.code, words in said.err) == (2, True), said
    assert cli("workflow", "list", "--json").json() == {"workflows": [], "total": 0, "offset": 0}
    assert cli("jobs", "--json").json()["jobs"] == []
    good = "name: w\njobs:\n  a: {argv: ['true'], matrix: {n: [1, 2]}}\n"
    assert cli("workflow", "validate", put(cli, good)).out.startswith("w.yml is a valid workflow: w, 1 step, 2 jobs")
    for argv, words in (
        (("status", "w-none"), "there is no workflow 'w-none'"),
        (("list", "--state", "done"), "there is no state 'done'"),
        (("list", "--limit", "-1"), "--limit: -1"),
        (("submit", "w.yml", "--context", "x=1"), "w.yml has no 'x'"),
    ):
        said = cli("workflow", *argv)
        assert (said.code, words in said.err) == (2, True), said
    for _ in range(3):
        assert cli("workflow", "submit", "w.yml").code == 0
    page = cli("workflow", "list", "--limit", "2", "--offset", "1", "--json").json()
    assert (len(page["workflows"]), page["total"], page["offset"]) == (2, 3, 1)
    assert "and 1 older ones · --offset 2 shows the next" in cli("workflow", "list", "--limit", "2").out


@pytest.mark.accepts("C46")
def test_the_same_file_from_a_playbook(stoker: Stoker, node: PlainNode) -> None:
    cli = stoker(node)
    put(cli, "name: played\ncontext: {n: 1}\njobs:\n  a: {argv: [sh, -c, 'exit $0', '{{ context.n }}']}\n")
    plays = Plays(cli.folder, cli.inventory)
    store = f"store_url: {cli.env['STOKER_STORE_URL']}"

    def play(*arguments: str, options: tuple[str, ...] = ()) -> dict[str, Any]:
        told = "".join(f"    {argument}\n" for argument in (*arguments, store))
        tasks = f"- name: Do\n  stoker.fleet.workflow:\n{told}  register: done\n"
        return plays.run(tasks, *options, hosts="localhost").results["localhost"]["done"]

    checked = play("file: w.yml", options=("--check",))
    assert (checked["changed"], checked["workflow"]) == (True, None)
    assert cli("workflow", "list", "--json").json()["total"] == 0
    wrong = play("file: w.yml", "context: {m: 2}")
    assert (wrong["failed"], "has no 'm'" in wrong["msg"]) == (True, True)
    first = play("file: w.yml", "context: {n: 3}")
    name = first["workflow"]["id"]
    assert (first["changed"], first["workflow"]["counts"]) == (True, {"queued": 1})
    assert cli("workflow", "watch", name, timeout_s=120).code == 1
    shown = play(f"id: {name}", "state: shown")
    assert (shown["changed"], shown["workflow"]["jobs"][0]["exit_code"]) == (False, 3)
    assert play(f"id: {name}", "state: resumed")["changed"]
    assert not play(f"id: {name}", "state: resumed")["changed"]
    ended = play(f"id: {name}", "state: cancelled")
    assert (ended["changed"], ended["workflow"]["state"]) == (True, "cancelled"), "it had not begun yet"
