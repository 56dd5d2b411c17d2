# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The file of a workflow: what a good one becomes, and what is said of a wrong one, with its line."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import pytest

from stoker.errors import NotFound, StokerError, UsageError
from stoker.operations import templates, workflows
from stoker.operations.session import Session
from stoker.operations.workflow_file import parse
from stoker.operations.workflow_parts import body_of

GOOD = """\
name: nightly
context: {lr: 0.1, full: true, data: /srv}
jobs:
  prep:
    script: |
      echo "{{ not.ours }}"
    outputs: {path: "data in (.+)"}
  train:
    needs: prep
    matrix: {seed: [1, 2], opt: [adam, sgd]}
    max_parallel: 2
    when: parent.prep.exit_code == 0 and context.full
    argv: [python, train.py, --data, "{{ parent.prep.outputs.path }}", --lr, "{{ context.lr }}", 7]
    env: {SEED: "{{ matrix.seed }}", FROM: "{{ context.data }}/{{ parent.prep.stdout }}", N: 3}
    workdir: "{{ context.data }}/{{ matrix.opt }}"
    gpus: 1
    on: n1
    timeout: 2h
    memory: 8G
    retries: 3
    retry_on: [oom, 75]
    queue: night
    priority: 2
    secret: []
"""


def body(session: Session, text: str, **context: str) -> dict[str, Any]:
    return body_of(session, parse(textwrap.dedent(text), "w.yml", context), dry=True)


@pytest.mark.accepts("C46")
def test_a_good_file_becomes_jobs_that_lack_only_what_their_parents_will_say(session: Session) -> None:
    steps = body(session, GOOD, lr="0.5", full="false")["steps"]
    prep, train = steps["prep"], steps["train"]
    assert prep["parts"][0]["spec"]["script"] == 'echo "{{ not.ours }}"\n'
    assert prep["parts"][0]["spec"]["outputs"] == [{"name": "path", "regex": "data in (.+)"}]
    assert [part["matrix"] for part in train["parts"]] == [
        {"seed": 1, "opt": "adam"}, {"seed": 1, "opt": "sgd"}, {"seed": 2, "opt": "adam"}, {"seed": 2, "opt": "sgd"},
    ]  # fmt: skip
    last = train["parts"][3]
    spec = last["spec"]
    assert spec["argv"][2:] == ["--data", "{{ parent.prep.outputs.path }}", "--lr", "0.5", "7"]
    assert spec["env"] == {"SEED": "2", "FROM": "{{ context.data }}/{{ parent.prep.stdout }}", "N": "3"}
    assert last["later"] == [["argv", 3], ["env", "FROM"]]
    assert (spec["workdir"], spec["gpus"], spec["timeout_s"], spec["memory_bytes"]) == ("/srv/sgd", 1, 7200.0, 8 << 30)
    assert (last["target"], last["retries"], last["retry_on"]) == ("n1", 3, "oom,75")
    assert (last["queue"], last["priority"]) == ("night", 2)
    assert (train["needs"], train["judged"], train["max_parallel"], train["many"]) == (["prep"], ["prep"], 2, True)


ONE = "name: w\njobs:\n  a:\n    argv: [x]\n"


@pytest.mark.accepts("C46")
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("- 1", "w.yml:1: is not a mapping of name, description, context, jobs"),
        ("name: [", "w.yml:1: not valid YAML"),
        ("name: w\nname: x\njobs: {}", "w.yml:2: not valid YAML"),
        ("jobs: {a: {argv: [x]}}", "w.yml:1: name: the name of the workflow is missing"),
        ("name: w", "w.yml:1: jobs: is not a mapping of at least one job"),
        ("name: w\nsteps:\n  a: 1", "w.yml:2: steps: there is no such field. jobs"),
        (ONE + "    gpu: 1\n", "w.yml:5: jobs.a.gpu: there is no such field. Did you mean 'gpus'?"),
        (ONE + "    run: x\n", "w.yml:5: jobs.a.run: there is no such field. argv (a list) is a command"),
        (ONE + "    sync: true\n", "w.yml:5: jobs.a.sync: there is no such field. snapshot: true brings the files"),
        (ONE + "    script: x\n", "w.yml:3: jobs.a: needs exactly one of argv, script, template and agent"),
        (ONE + "  __class__: {argv: [x]}\n", "w.yml:5: jobs.__class__: a name is a letter"),
        (ONE + "    needs: [b]\n", "w.yml:5: jobs.a.needs: there is no job 'b'"),
        (ONE + "    needs: {a: 1}\n", "w.yml:5: jobs.a.needs: {'a': 1} is not a list of jobs"),
        (ONE + "    needs: a\n", "w.yml:5: jobs.a.needs: goes in a circle: a needs a"),
        (
            "name: w\njobs:\n  a: {argv: [x]}\n  b: {argv: [x], needs: [d, a]}\n  c: {argv: [x], needs: b}\n"
            "  d: {argv: [x], needs: c}\n",
            "w.yml:4: jobs.b.needs: goes in a circle: b needs d needs c needs b",
        ),
        (ONE + "    gpus: many\n", "w.yml:5: jobs.a.gpus: 'many' is not a whole number"),
        (ONE + "    gpus: true\n", "w.yml:5: jobs.a.gpus: True is not a whole number"),
        (ONE + "    strict: 3\n", "w.yml:5: jobs.a.strict: 3 is not true or false"),
        (ONE + "    env: [a]\n", "w.yml:5: jobs.a.env: ['a'] is not a mapping of names to texts"),
        (ONE + "    env: {A: [1]}\n", "w.yml:5: jobs.a.env: {'A': [1]} is not a mapping of names to texts"),
        ("name: w\njobs:\n  a:\n    argv: python x\n", "w.yml:4: jobs.a.argv: 'python x' is not a list of texts"),
        (ONE + "    memory: 8Q\n", "w.yml:5: jobs.a.memory: '8Q' is not a size"),
        (ONE + "    timeout: soon\n", "w.yml:5: jobs.a.timeout: 'soon' is not a duration"),
        (ONE + "    retry_on: [bad]\n", "w.yml:5: jobs.a.retry_on: 'bad' is no way to fail"),
        (ONE + "    retries: -1\n", "w.yml:5: jobs.a.retries: -1 is not a number of 0 or more"),
        (ONE + "    on: n9\n", "w.yml:5: jobs.a.on: no node or group 'n9'"),
        (ONE + "    secret: [NO_SUCH]\n", "w.yml:5: jobs.a.secret: NO_SUCH: there is no NO_SUCH in the environment"),
        (ONE + "    param: {x: 1}\n", "w.yml:5: jobs.a.param: is for a template, and none is named"),
        ("name: w\njobs:\n  a:\n    template: none\n", "w.yml:3: jobs.a: there is no template 'none'"),
        (ONE + "    max_parallel: 2\n", "w.yml:5: jobs.a.max_parallel: 2 is not a whole number of 1 or more"),
        (ONE + "    matrix: {a: []}\n", "w.yml:5: jobs.a.matrix.a: [] is not a list of texts"),
        (ONE + "    matrix: {a: [[1]]}\n", "w.yml:5: jobs.a.matrix.a: [[1]] is not a list of texts"),
        (ONE + f"    matrix: {{a: {list(range(40))}, b: {list(range(40))}}}\n", "are 1,600 jobs with their matrices"),
        (ONE + "    outputs: {x: '('}\n", "w.yml:5: jobs.a.outputs.x: '(': not a regular expression"),
        (ONE + "    outputs: {x: abc}\n", "w.yml:5: jobs.a.outputs.x: 'abc': needs exactly one group"),
        (ONE + "    outputs: [{a: b}]\n", "w.yml:5: jobs.a.outputs: is not a mapping of names"),
        (ONE + "    allow_failure: maybe\n", "w.yml:5: jobs.a.allow_failure: 'maybe' is not true or false"),
        (ONE + "    when: parent.b.state == 'failed'\n", "knows no parent.b: it is none of the steps that"),
        (ONE + "    when: context.x.__class__\n", "w.yml:5: jobs.a.when: 'context.x.__class__' knows no context.x"),
        (ONE + "    queue: a b\n", "w.yml:5: jobs.a.queue: 'a b' is no name for a queue"),
        (ONE + "    priority: 2\n", "w.yml:5: jobs.a.priority: 2 is not a whole number, for a job in a queue"),
        (ONE + "    when: [1]\n", "w.yml:5: jobs.a.when: [1] is not a condition"),
        (ONE + "    workdir: '{{ context.x }}'\n", "w.yml:5: jobs.a.workdir: knows no context.x"),
        (ONE + "    env:\n      A: ok\n      B: '{{ lipsum() }}'\n", "w.yml:7: jobs.a.env.B: has what is not allowed"),
        (
            ONE + "    outputs: {p: '(.)'}\n  b: {argv: [x], needs: a, on: '{{ parent.a.outputs.p }}'}\n",
            "w.yml:6: jobs.b.on: a value of a parent may stand in argv and env only",
        ),
        (
            ONE + "  b:\n    needs: a\n    script: |\n      echo {{ parent.a.stdout }}\n",
            "w.yml:7: jobs.b.script: values do not go into a script: give them by env",
        ),
        ("name: w\njobs:\n  a:\n    script: ' '\n", "w.yml:4: jobs.a.script: has no text"),
        (ONE + "    retries: 99999999999999999999\n", "w.yml:5: jobs.a.retries: 99999999999999999999 is not a"),
        (ONE + "    queue: q\n    priority: 99999999999\n", "w.yml:6: jobs.a.priority: 99999999999 is more than"),
        (ONE + "    env: {V: 'v={{ context.x }'}\n", "w.yml:5: jobs.a.env.V: has '{{' without its '}}' (braces"),
        (ONE + "    env: {V: '{{ context.x'}\n", "w.yml:5: jobs.a.env.V: has '{{' without its '}}'"),
        (ONE + "    env: {V: 'x }}'}\n", "w.yml:5: jobs.a.env.V: has '}}' without its '{{'"),
        (ONE + "    env: {V: '{% if x %}'}\n", "w.yml:5: jobs.a.env.V: has '{%', which means nothing here"),
        (ONE + "    env: {V: '{# x #}'}\n", "w.yml:5: jobs.a.env.V: has '{#', which means nothing here"),
        ("name: w\ncontext: {x: [1]}\njobs: {a: {argv: [x]}}", "w.yml:2: context.x: [1] is not a text"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_file_line_and_field(session: Session, text: str, words: str) -> None:
    with pytest.raises(StokerError) as told:
        body(session, text)
    assert words in told.value.message
    assert told.value.message.count("w.yml") == 1
    assert told.value.exit_code == 2


def test_what_unfolds_without_end_is_refused(session: Session) -> None:
    bomb = "name: w\na: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{new}: &{new} [{','.join(['*' + old] * 10)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
    )
    for text in (bomb, "name: w\njobs: &j {a: *j}\n", "name: w\njobs:" + " {a:" * 60 + " 1" + "}" * 60):
        with pytest.raises(StokerError, match=r"w\.yml"):
            body(session, text)


def test_the_context_is_given_by_name_and_kind(session: Session) -> None:
    text = "name: w\ncontext: {lr: 0.1, n: 3, on: true, data: null}\njobs: {a: {argv: [x, '{{ context.data }}']}}"
    with pytest.raises(StokerError, match=r"^w\.yml:2: context\.data: needs a value$") as told:
        body(session, text)
    assert (told.value.next_step, told.value.exit_code) == ("--context data=...", 2)
    for given, words in (
        ({"data": "x", "l": "1"}, "Did you mean 'lr'"), ({"data": "x", "lr": "fast"}, "'fast' is not a number"),
        ({"data": "x", "on": "1"}, "'1' is not true or false"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=words):
            body(session, text, **given)
    made = body(session, text, data="{{ context.lr }}", lr="1", n="4", on="false")
    assert made["context"] == {"lr": 1, "n": 4, "on": False, "data": "{{ context.lr }}"}
    assert made["steps"]["a"]["parts"][0]["spec"]["argv"] == ["x", "{{ context.lr }}"], "it is put in once"


def test_braces_that_are_text_can_be_written(session: Session) -> None:
    text = """name: w\njobs: {a: {argv: [x, "{{ '{{' }} {{ '}' }}{{ '}' }} {{ '{%' }}"]}}"""
    assert body(session, text)["steps"]["a"]["parts"][0]["spec"]["argv"] == ["x", "{{ }} {%"]


def test_a_step_may_be_a_template(session: Session) -> None:
    templates.save(session, "t", ["echo", "{{word}}", "{{ docker }}"], require=["word"])
    text = "name: w\njobs: {a: {template: t, matrix: {w: [x, y]}, param: {word: 'say {{ matrix.w }}'}, env: {A: 1}}}"
    parts = body(session, text)["steps"]["a"]["parts"]
    assert [part["spec"]["argv"] for part in parts] == [
        ["echo", "say x", "{{ docker }}"],
        ["echo", "say y", "{{ docker }}"],
    ]
    assert {part["template"] for part in parts} == {"t"}


def test_a_file_that_is_none(session: Session) -> None:
    with pytest.raises(NotFound, match=r"there is no file none\.yml"):
        workflows.validate(session, "none.yml")
    Path("big.yml").write_bytes(b"#" * 300_000)
    Path("odd.yml").write_bytes(b"\xff")
    for file, words in (("big.yml", "300,000 bytes"), ("odd.yml", "not a text in UTF-8"), (".", "cannot be read")):
        with pytest.raises(UsageError, match=words):
            workflows.validate(session, file)
    assert session.store.workflows.page() == []
