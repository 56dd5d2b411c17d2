# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection's modules from plain playbooks: no store, no command line of Stoker, no become."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from plays import Plays, unpacked
from testbed import Bed, PlainNode, SshNode, wait_until, write_inventory
from testbed.bed import find_python
from testbed.command_lines import CommandLines

NOISE = "echo 'Welcome to n3! 3 updates are available.'; printf 'and no new line at the end'\n"
FLEET = ["n1", "n2", "n3", "n4"]


class Variant:
    """A node under another name, with some of its host variables changed."""

    def __init__(self, node: SshNode, name: str, **changes: Any) -> None:
        self.node, self.name, self.changes = node, name, changes

    def inventory_entry(self) -> dict[str, Any]:
        return {**self.node.inventory_entry(), **self.changes}


@pytest.fixture(scope="module")
def fleet(bed: Bed) -> Iterator[dict[str, PlainNode]]:
    """n1 is plain, n2 has Python 3.8, n3 talks at each login and keeps its state where the path has spaces."""
    nodes = [
        PlainNode(bed, "n1"),
        PlainNode(bed, "n2", python=find_python("3.8")),
        PlainNode(bed, "n3", host_vars={"stoker_state_dir": "~/my jobs/of stoker"}),
        PlainNode(bed, "n4"),
    ]
    with (nodes[2].home / ".bashrc").open("a") as bashrc:
        bashrc.write(NOISE)
    for node in nodes:
        node.start()
    yield {node.name: node for node in nodes}
    for node in nodes:
        node.close()


@pytest.fixture(scope="module")
def plays(fleet: dict[str, PlainNode], tmp_path_factory: pytest.TempPathFactory) -> Plays:
    folder = tmp_path_factory.mktemp("plays")
    n1 = fleet["n1"]
    odd = [
        Variant(n1, "no_python", ansible_python_interpreter="/no/such/python3"),
        Variant(n1, "down", ansible_port=1),
        Variant(n1, "no_room", stoker_state_dir="/proc/nowhere"),
    ]
    same = [Variant(fleet["n4"], f"same{number}") for number in range(5)]
    groups = {"fleet": FLEET, "same": [variant.name for variant in same]}
    path = write_inventory(folder / "inventory.yml", [*fleet.values(), *odd, *same], groups=groups)
    return Plays(folder, path)


def start(job: str, *argv: str) -> dict[str, Any]:
    """An order for reconcile."""
    spec = {"schema": "stoker.spec/1", "job": job, "uid": str(uuid.uuid4()), "argv": list(argv)}
    return {"order": "start", "attempt": 1, "spec": spec}


def sessions(node: PlainNode) -> int:
    """How many commands were run on the node over ssh."""
    return node.log().count("Starting session: command")


@pytest.mark.accepts("D06", "D09", "D13", "V14")
def test_life_of_a_job(plays: Plays) -> None:
    """Each step in check mode, for real, and once more: the second time changes nothing."""
    played = plays.run("""
      - {name: Create (check), stoker.fleet.job: &create {id: life, script: "echo began; sleep 600.7", grace: 1},
         check_mode: true, diff: true, register: create_check}
      - {name: Look, stoker.fleet.job_info: {id: [life]}, register: nothing}
      - {name: Create, stoker.fleet.job: *create, diff: true, register: create_1}
      - {name: Create (idempotency), stoker.fleet.job: *create, register: create_2}
      - {name: Create (again in check mode), stoker.fleet.job: *create, check_mode: true, register: create_2_check}
      - {name: Read, stoker.fleet.job_log: {id: life, wait: 10}, register: log}
      - {name: Remove while it lives, stoker.fleet.job: {id: life, state: absent}, register: too_early}
      - {name: Clean while it lives, stoker.fleet.job_clean: {}, register: clean_early}
      - {name: Stop (check), stoker.fleet.job: &stop {id: life, state: stopped, grace: 1}, check_mode: true, diff: true,
         register: stop_check}
      - {name: Look, stoker.fleet.job_info: {ids: [life]}, register: still}
      - {name: Stop, stoker.fleet.job: *stop, diff: true, register: stop_1}
      - {name: Stop (idempotency), stoker.fleet.job: *stop, register: stop_2}
      - {name: Create (it is over), stoker.fleet.job: *create, register: create_3}
      - {name: Remove (check), stoker.fleet.job: {id: life, state: absent}, check_mode: true, register: absent_check}
      - {name: Clean (check), stoker.fleet.job_clean: {}, check_mode: true, register: clean_check}
      - {name: Remove, stoker.fleet.job: {id: life, state: absent}, diff: true, register: absent_1}
      - {name: Remove (idempotency), stoker.fleet.job: {id: life, state: absent}, register: absent_2}
      - {name: Clean, stoker.fleet.job_clean: {}, register: clean}
    """)
    assert sorted(played.results) == FLEET, played.output
    for host, got in played.results.items():
        changed = {name: result["changed"] for name, result in got.items()}
        yes = {"create_check", "create_1", "stop_check", "stop_1", "absent_check", "absent_1", "clean_check"}
        assert {name for name, value in changed.items() if value} == yes, (host, changed)
        failed = {name for name, result in got.items() if result.get("failed")}
        assert failed == {"too_early"}, (host, failed)
        assert got["create_check"]["job"] == {"id": "life", "state": "absent"}
        assert got["create_check"]["diff"] == {"before": {"state": "absent"}, "after": {"state": "started"}}
        assert got["nothing"]["jobs"] == []
        assert got["create_1"]["diff"] == {"before": {"state": "absent"}, "after": {"state": "running"}}
        assert got["create_1"]["job"]["state"] == got["create_2"]["job"]["state"] == "running"
        assert got["create_1"]["job"]["pid"] == got["create_2"]["job"]["pid"]
        assert (got["log"]["content"], got["log"]["chunk"]["next"]) == ("began\n", 6)
        assert got["too_early"]["msg"] == "attempt 1 of life is not over (next: stoker stop life)"
        assert (got["clean_early"]["removed"], got["clean_early"]["kept"]) == ([], 1)
        assert got["still"]["jobs"][0]["state"] == "running"
        assert got["stop_1"]["diff"] == {"before": {"state": "running"}, "after": {"state": "cancelled"}}, (
            host,
            got["stop_1"],
        )
        assert got["stop_2"]["job"]["state"] == got["create_3"]["job"]["state"] == "cancelled"
        assert [item["job"] for item in got["clean_check"]["removed"]] == ["life"]
        assert got["absent_1"]["job"] == got["absent_2"]["job"] == {"id": "life", "state": "absent"}
        assert got["clean"]["removed"] == []


def test_module_defaults_of_the_group(plays: Plays) -> None:
    played = plays.run(
        """
        - {stoker.fleet.job: {argv: [echo, hello]}, register: job}
        - {stoker.fleet.job_log: {wait: 10}, register: log}
        """,
        hosts="n1",
        head="""
        module_defaults:
          group/stoker.fleet.stoker: {id: grouped}
        """,
    )
    got = played.results["n1"]
    assert (got["job"]["job"]["id"], got["log"]["content"]) == ("grouped", "hello\n"), played.output


def test_exec(plays: Plays) -> None:
    """The command's own code and streams; a task does not fail because a command does."""
    played = plays.run("""
      - stoker.fleet.node_exec:
          argv: [sh, -c, 'printf "out $A\\n"; printf "err\\n" >&2; pwd; exit 7', x]
          env: {A: "a b"}
        register: fails
      - {stoker.fleet.node_exec: {script: "kill -9 $$"}, register: killed}
      - {stoker.fleet.node_exec: {argv: [no-such-program]}, register: missing}
      - {stoker.fleet.node_exec: {argv: [sleep, "60.5"], timeout: 0.5}, register: late}
      - {stoker.fleet.node_exec: {argv: [sh, -c, "yes | head -c 5000"], limit: 10}, register: long}
      - {stoker.fleet.node_exec: {argv: ["true"]}, check_mode: true, register: check}
    """)
    for host, got in played.results.items():
        fails = got["fails"]
        assert (fails["code"], fails["signal"], unpacked(fails["stderr"])) == (7, None, b"err\n"), host
        lines = unpacked(fails["stdout"]).decode().splitlines()
        assert lines[0] == "out a b"
        assert lines[1].endswith("/home"), "not in the home folder"
        assert (got["killed"]["code"], got["killed"]["signal"]) == (None, 9)
        assert got["missing"]["code"] == 127
        assert unpacked(got["missing"]["stderr"]) == b"no-such-program: No such file or directory\n"
        assert (got["late"]["timed_out"], got["late"]["signal"]) == (True, 9)
        assert (unpacked(got["long"]["stdout"]), got["long"]["truncated"]) == (b"y\ny\ny\ny\ny\n", True)
        assert got["check"]["skipped"] is True, "it ran in check mode"


def test_reconcile(plays: Plays) -> None:
    """Many orders in one task; a refused one says why and does not fail the others."""
    order = start("rec", "echo", "hi")
    bad = {"order": "stop", "job": "unknown-job", "attempt": 1}
    request = json.dumps({"orders": [order, bad], "observe": {"jobs": ["rec"]}})
    played = plays.run(f"""
      - {{stoker.fleet.reconcile: {{request: {request}}}, check_mode: true, register: check}}
      - {{stoker.fleet.reconcile: {{request: {request}}}, register: first}}
      - {{stoker.fleet.reconcile: {{request: {request}}}, register: again}}
    """)
    for host, got in played.results.items():
        assert (got["check"]["changed"], got["check"]["reply"]["attempts"]) == (True, []), host
        orders = got["first"]["reply"]["orders"]
        assert [(item["ok"], item["changed"]) for item in orders] == [(True, True), (False, False)]
        assert orders[1]["error"]["code"] == "unknown_job"
        assert (got["first"]["changed"], got["again"]["changed"]) == (True, False)


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ("no_python", "no Python 3 on this node: install python3 there, or set ansible_python_interpreter"),
        ("no_room", "could not be put into /proc/nowhere/bin/"),
    ],
)
def test_a_node_that_cannot_answer(plays: Plays, host: str, words: str) -> None:
    played = plays.run("- {stoker.fleet.job_info: {}, register: info}", hosts=host)
    message = played.results[host]["info"]["msg"]
    assert words in message, message
    assert "\n" not in message
    assert "Traceback" not in played.output


def test_an_unreachable_node_is_unreachable(plays: Plays) -> None:
    played = plays.run("- {stoker.fleet.job: {id: j, argv: [echo]}, register: job}", hosts="down")
    job = played.results["down"]["job"]
    assert job["unreachable"] is True, job
    assert "Connection refused" in job["msg"]


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("job: {argv: [a]}", "one of the following is required: id, name"),
        ("job: {id: j, argv: [a], script: b}", "parameters are mutually exclusive: argv|script"),
        ("job: {id: j}", "state started needs argv or script"),
        ("job: {id: j, argv: [a], wrong: 1}", "Unsupported parameters"),
        ("job: {name: My Job, argv: [a]}", "'My Job' is not a job id"),
        ("job: {id: j, argv: [a], checkpoint_signal: FOO}", "spec.checkpoint_signal: must be one of"),
        ("job: {id: j, argv: [a], env: {1A: b}}", "spec.env: the name '1A'"),
        ("job: {id: j, argv: [a], metrics: [{name: m, regex: '('}]}", "not a regular expression"),
        ("job: {id: j, argv: [a], secret_env: [NOT_SET_ANYWHERE]}", "for the secret NOT_SET_ANYWHERE"),
        ("job: {id: unknown, state: stopped}", "there is no job unknown on this node"),
        ("job_log: {id: unknown}", "no job unknown in"),
        ("job_log: {id: j, offset: 1, tail: 1}", "parameters are mutually exclusive: offset|tail"),
        ("reconcile: {request: {orders: [{order: jump}]}}", "request.orders[0].order: must be one of"),
    ],
)
def test_bad_input_gets_one_sentence(refusals: dict[str, str], module: str, words: str) -> None:
    assert words in refusals[module], refusals[module]
    assert "\n" not in refusals[module]
    assert "Traceback" not in refusals[module]


@pytest.fixture(scope="module")
def refusals(plays: Plays, request: pytest.FixtureRequest) -> dict[str, str]:
    """What each bad call says: all in one play."""
    marks = [mark for mark in test_bad_input_gets_one_sentence.pytestmark if mark.name == "parametrize"]
    modules = [case[0] for case in marks[0].args[1]]
    tasks = [f"- {{stoker.fleet.{module}, register: r{number}}}\n" for number, module in enumerate(modules)]
    got = plays.run("".join(tasks), hosts="n1").results["n1"]
    assert all(result["failed"] for result in got.values()), got
    return {module: got[f"r{number}"]["msg"] for number, module in enumerate(modules)}


def test_secrets(plays: Plays, fleet: dict[str, PlainNode]) -> None:
    """From a variable to the command's environment: in no output with -vvv, no command line, no file."""
    secret = f"s3cret-{uuid.uuid4()}"
    (plays.folder / "secrets.yml").write_text(json.dumps({"stoker_secrets": {"TOKEN": secret}}))
    show = 'printf %s "$TOKEN" | sha256sum'
    with CommandLines(secret) as lines:
        played = plays.run(
            """
            - {stoker.fleet.job: {id: secretive, script: "{{ show }}; sleep 2", secret_env: [TOKEN]}, register: job}
            - {stoker.fleet.job_log: {id: secretive, wait: 10}, register: log}
            - {stoker.fleet.job_info: {ids: [secretive]}, register: info}
            - {stoker.fleet.node_exec: {script: "{{ show }}", secret_env: [TOKEN]}, register: exec}
            """,
            "-vvv",
            head=f"vars: {{show: {json.dumps(show)}}}\nvars_files: [secrets.yml]",
        )
    digest = hashlib.sha256(secret.encode()).hexdigest()
    for host, got in played.results.items():
        assert got["log"]["content"].split()[0] == digest, (host, got)
        assert unpacked(got["exec"]["stdout"]).split()[0].decode() == digest
    assert secret not in played.output
    assert secret not in json.dumps(played.results)
    assert lines.found == set()
    for node in fleet.values():
        assert node.ssh(f"grep -r {secret} $HOME").returncode == 1, "a file on the node holds it"


@pytest.mark.accepts("V17")
def test_a_checkpoint_comes_beside_what_is_in_its_folder_or_in_place_of_it(plays: Plays, tmp_path: Path) -> None:
    """And what an earlier one has is copied from there: not sent, and no name of the same file."""
    order = start("saves", "sh", "-c", "head -c 300000 /dev/urandom > model.pt")
    order["spec"]["checkpoints"] = {"path": "model.pt", "every_s": 60.0, "ask": False}
    beside, alone, near = (tmp_path / name for name in ("beside", "alone", "near"))
    for folder in (beside, alone):
        folder.mkdir()
        (folder / "own.txt").write_text("its user's")
    played = plays.run(
        f"""
        - stoker.fleet.reconcile: {{request: {json.dumps({"orders": [order]})}}}
        - {{stoker.fleet.job_log: {{id: saves, wait: 60}}, register: log}}
        - {{stoker.fleet.checkpoint: {{job: saves, folder: {beside}}}, register: first}}
        - stoker.fleet.checkpoint: {{job: saves, folder: {beside}, mark: "{{{{ first.checkpoint.mark }}}}"}}
          register: again
        - {{stoker.fleet.checkpoint: {{job: saves, folder: {alone}, alone: true}}, register: emptied}}
        - {{stoker.fleet.checkpoint: {{job: saves, folder: {near}, near: {beside}}}, register: copied}}
        """,
        hosts="n1",
    )
    got = played.results["n1"]
    assert [got[name]["fetched"] for name in ("first", "again", "emptied", "copied")] == [True, False, True, True], got
    assert got["again"]["checkpoint"]["state"] == "same"
    assert sorted(path.name for path in beside.iterdir()) == ["model.pt", "own.txt"]
    assert [path.name for path in alone.iterdir()] == ["model.pt"]
    assert (near / "model.pt").read_bytes() == (beside / "model.pt").read_bytes()
    assert (near / "model.pt").stat().st_ino != (beside / "model.pt").stat().st_ino
    assert got["copied"]["wire_bytes"] < 100_000 < got["first"]["wire_bytes"]


def test_unsafe_text_arrives_unchanged(plays: Plays) -> None:
    played = plays.run(
        """
        - stoker.fleet.job:
            id: unsafe
            argv: [printf, '%s\\n', "{{ text }}", !unsafe '{{ 2 + 2 }}', "{{ '{{' }} x {{ '}}' }}"]
            env: {TEXT: "{{ text }}"}
        - {stoker.fleet.job_log: {id: unsafe, wait: 10}, register: log}
        - {stoker.fleet.node_exec: {argv: [printenv, TEXT], env: {TEXT: "{{ text }}"}}, register: exec}
        """,
        hosts="n1",
        head="""
        vars:
          text: !unsafe "{{ 1 + 1 }} $HOME `id` {% if %} 'q' \\"d\\" \\\\ ä"
        """,
    )
    text = "{{ 1 + 1 }} $HOME `id` {% if %} 'q' \"d\" \\ ä"
    got = played.results["n1"]
    assert got["log"]["content"].splitlines() == [text, "{{ 2 + 2 }}", "{{ x }}"], played.output
    assert unpacked(got["exec"]["stdout"]).decode() == text + "\n"


@pytest.mark.accepts("D32")
def test_20_jobs_are_one_command_and_four_nodes_are_asked_at_once(plays: Plays, fleet: dict[str, PlainNode]) -> None:
    """The node side is pushed once; from then on a question is one command, however many jobs there are."""
    orders = [start(f"many-{number}", "sleep", "600.75") for number in range(20)]
    quiet = "until [ -e $HOME/asked ]; do sleep 0.1; done; echo all were asked"
    plays.run(f"- {{stoker.fleet.job: {{id: quiet, script: {quiet!r}}}, register: job}}")
    plays.run(
        f"- {{stoker.fleet.reconcile: {{request: {json.dumps({'orders': orders})}}}, register: reply}}", hosts="n1"
    )
    before = {name: sessions(node) for name, node in fleet.items()}
    played = plays.run("- {stoker.fleet.job_info: {}, register: info}")
    assert {name: sessions(node) - before[name] for name, node in fleet.items()} == dict.fromkeys(FLEET, 1)
    assert len([job for job in played.results["n1"]["info"]["jobs"] if job["id"].startswith("many-")]) == 20
    before = {name: sessions(node) for name, node in fleet.items()}

    def tell() -> None:
        wait_until(lambda: all(sessions(node) > before[name] for name, node in fleet.items()), "all are asked", 150)
        for node in fleet.values():
            (node.home / "asked").touch()

    with ThreadPoolExecutor() as beside:
        told = beside.submit(tell)
        waited = plays.run("- {stoker.fleet.job_log: {id: quiet, wait: 100}, register: log}")
        told.result()
    assert {name: got["log"]["content"] for name, got in waited.results.items()} == dict.fromkeys(
        FLEET, "all were asked\n"
    )
    fleet["n1"].ssh("pkill -fx 'sleep 600.75'")


def test_the_node_side_is_pushed_once(plays: Plays, fleet: dict[str, PlainNode]) -> None:
    node = fleet["n1"]
    node.ssh("rm -rf $HOME/.stoker/bin")
    counts = []
    for _time in range(2):
        before = sessions(node)
        plays.run("- {stoker.fleet.job_info: {}, register: info}", hosts="n1")
        counts.append(sessions(node) - before)
    assert counts == [3, 1]  # asked, pushed, asked again; asked


def test_many_may_push_at_once(plays: Plays, fleet: dict[str, PlainNode]) -> None:
    """Five hosts of the inventory are one node, as five controllers would be: whoever is first wins."""
    fleet["n4"].ssh("rm -rf $HOME/.stoker/bin")
    played = plays.run("- {stoker.fleet.job_info: {}, register: info}", hosts="same")
    assert {got["info"].get("msg") for got in played.results.values()} == {None}
    assert len(played.results) == 5
    assert len(fleet["n4"].ssh("ls -A $HOME/.stoker/bin").stdout.split()) == 1


def test_old_python_and_noise_do_not_matter(plays: Plays, fleet: dict[str, PlainNode]) -> None:
    played = plays.run("- {stoker.fleet.job_info: {}, register: info}")
    found = {host: got["info"]["node"] for host, got in played.results.items()}
    assert found["n2"]["python"].startswith("3.8.")
    assert found["n3"]["state_dir"] == f"{fleet['n3'].home}/my jobs/of stoker"
    assert "Welcome" in fleet["n3"].ssh("true").stdout
    assert "Welcome" not in json.dumps(played.results["n3"])
