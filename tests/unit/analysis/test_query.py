# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`stoker runs query`: the same answers as SQL that was written by hand, and what is no query is refused."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from pathlib import Path
from typing import Any

import duckdb
import pytest
from asked import Asked, jsonl
from hypothesis import given, settings
from hypothesis import strategies as st

from stoker.analysis import Found, Run, Unreadable
from stoker.analysis.answers import RunQuery
from stoker.analysis.query import query
from stoker.analysis.query_text import LONGEST, QueryError, parse
from stoker.analysis.runs import read, runs_in

SETTINGS: list[dict[str, Any]] = [
    {"lr": 1e-3, "optimizer": {"name": "adam"}, "amp": True, "odd name": 1},
    {"lr": 1e-4, "optimizer": {"name": "sgd"}, "amp": False, "same": 0.0001},
    {"lr": "auto", "optimizer": {"name": "AdamW"}, "amp": None, "betas": [0.9, 1]},
    {"lr": 3},
]
VALUES: list[dict[str, list[float]]] = [
    {"val_acc": [0.5, 0.9, 0.7], "loss": [3, 2, 1]},
    {"val_acc": [0.85], "loss": [4, float("nan")]},
    {"val_acc": [0.2, 0.95], "loss": [5, float("inf")]},
    {"loss": [0.5, -2.5]},
]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four runs, r0 to r3, that differ in what they have."""
    top = tmp_path_factory.mktemp("query")
    for number, (config, metrics) in enumerate(zip(SETTINGS, VALUES, strict=True)):
        steps = max(len(values) for values in metrics.values())
        rows = [
            {"step": step, **{name: values[step] for name, values in metrics.items() if step < len(values)}}
            for step in range(steps)
        ]
        jsonl(top / f"r{number}" / "m.jsonl", rows)
        (top / f"r{number}" / "config.json").write_text(json.dumps(config))
    return top


def ask(folder: Path, text: str) -> RunQuery:
    return query(runs_in(folder), text, read=read)


def numbers(folder: Path, text: str) -> list[int]:
    return sorted(int(run.info.id[1]) for run in ask(folder, text).runs)


@pytest.mark.accepts("R28")
@pytest.mark.parametrize(
    ("text", "expected", "unknown"),
    [
        ("val_acc > 80%", [1, 2], 1), ("best(val_acc) >= 90%", [0, 2], 1), ("best(loss) < 1", [3], 0),
        ("loss > 0", [0, 2], 1), ("nan(loss) > 0", [1], 0), ("count(loss) = 3", [0], 0), ("mean(loss) = 2", [0], 0),
        ("config.lr < 1e-3", [1], 1), ("config.lr = 'auto'", [2], 3), ("config.amp = true", [0], 2),
        ("config.amp != true", [1], 2), ("config.optimizer.name ~ 'ADAM'", [0, 2], 1),
        ("val_acc > 80% and config.lr < 1e-3", [1], 1), ("val_acc > 80% or config.lr = 3", [1, 2, 3], 0),
        ("not val_acc > 80%", [0], 1), ("val_acc is known", [0, 1, 2], 0), ("val_acc is unknown", [3], 0),
        ("config.amp is not known", [2, 3], 0), ("not (loss < 1 or val_acc < 80%)", [2], 1),
        ("config.lr in (0.001, 3)", [0, 3], 1), ("config.lr not in (0.001, 3)", [1], 1),
        ("config.lr = config.same", [1], 3), ("config(`odd name`) = 1", [0], 3),
        ("loss < min(val_acc)", [], 2), ("state = unknown", [0, 1, 2, 3], 0), ("name is known", [], 0),
        ("kind = jsonl and id ~ 'R1'", [1], 0), ("exit_code = 0", [], 4), ("`loss` > 0", [0, 2], 1),
        ("+3 = config.lr", [3], 1), ("loss = -2.5", [3], 1), ("tags has baseline", [], 0),
        ("config.betas is known", [2], 0), ("config.betas = '[0.9, 1]'", [2], 3),
    ],
)  # fmt: skip
def test_what_is_true_of_which_runs(folder: Path, text: str, expected: list[int], unknown: int) -> None:
    said = ask(folder, text)
    assert (sorted(int(run.info.id[1]) for run in said.runs), said.unknown, said.total) == (expected, unknown, 4)


# A condition as a query, and the same as SQL written by hand over one wide table.
ATOMS = [
    ("val_acc {} {}", "acc_final"), ("best(val_acc) {} {}", "acc_max"), ("min(loss) {} {}", "loss_min"),
    ("loss {} {}", "loss_final"), ("config.lr {} {}", "lr"), ("count(loss) {} {}", "loss_count"),
]  # fmt: skip
SIGNS = ["<", "<=", ">", ">=", "=", "!="]
NUMBERS = [0.0001, 0.001, 0.5, 0.7, 0.85, 0.9, 1.0, 2.0, 3.0, -2.5, 1e300]
Both = tuple[str, str]


def atom(made: tuple[tuple[str, str], str, float]) -> Both:
    (text, column), sign, number = made
    return text.format(sign, repr(number)), f"{column} {sign.replace('!=', '<>')} {number!r}"


def larger(inner: st.SearchStrategy[Both]) -> st.SearchStrategy[Both]:
    """Without brackets, too: what binds first is the same in both languages."""
    return st.one_of(
        inner.map(lambda one: (f"({one[0]})", f"({one[1]})")),
        inner.map(lambda one: (f"not ({one[0]})", f"NOT ({one[1]})")),
        inner.map(lambda one: (f"not {one[0]}", f"NOT {one[1]}")),
        st.tuples(inner, st.sampled_from(["and", "or", "AND"]), inner).map(
            lambda made: (f"{made[0][0]} {made[1]} {made[2][0]}", f"{made[0][1]} {made[1]} {made[2][1]}")
        ),
    )


conditions = st.recursive(
    st.tuples(st.sampled_from(ATOMS), st.sampled_from(SIGNS), st.sampled_from(NUMBERS)).map(atom), larger, max_leaves=6
)


@pytest.mark.accepts("R28")
@settings(deadline=None, max_examples=60)
@given(condition=conditions)
def test_the_answer_is_that_of_sql(folder: Path, condition: tuple[str, str]) -> None:
    text, sql = condition
    with duckdb.connect() as base:
        base.execute(
            "CREATE TABLE r (n INT, acc_final DOUBLE, acc_max DOUBLE, loss_min DOUBLE, loss_final DOUBLE, lr DOUBLE, "
            "loss_count DOUBLE)"
        )
        for number, (config, metrics) in enumerate(zip(SETTINGS, VALUES, strict=True)):
            acc, loss = metrics.get("val_acc"), metrics["loss"]
            finite = [value for value in loss if math.isfinite(value)]
            lr = config["lr"] if isinstance(config["lr"], int | float) else None
            last = None if math.isnan(loss[-1]) else loss[-1]
            base.execute(
                "INSERT INTO r VALUES (?, ?, ?, ?, ?, ?, ?)",
                [number, acc and acc[-1], acc and max(acc), min(finite), last, lr, len(loss)],
            )
        expected = [n for (n,) in base.execute(f"SELECT n FROM r WHERE {sql} ORDER BY n").fetchall()]
        unknown = base.execute(f"SELECT count(*) FROM r WHERE ({sql}) IS NULL").fetchall()[0][0]
    said = ask(folder, text)
    assert (sorted(int(run.info.id[1]) for run in said.runs), said.unknown) == (expected, unknown)


@pytest.mark.accepts("R28")
@pytest.mark.parametrize(
    ("text", "at", "words"),
    [
        ("", 1, "it ends"), ("val_acc >", 10, "it ends"), ("val_acc > 80% config.lr < 1", 15, "there is 'config.lr'"),
        ("val_acc > 1; DROP TABLE runs", 12, "';' has no meaning"), ("1 = 1", 1, "nothing of a run"),
        ("val_acc = 'x", 11, "a text without its end"), ("1 < val_acc < 2", 13, "a second comparison"),
        ("(val_acc > 1", 13, "')' was expected"), ("sqrt(val_acc) > 1", 1, "there is 'sqrt'"),
        ("loss > 0 UNION SELECT 1", 10, "there is 'UNION'"), ("loss > 0 -- x", 10, "'-' has no meaning"),
        ("state > 5", 1, "a text is compared with a number"), ("loss ~ 'x'", 1, "is compared with"),
        ("config.amp > true", 1, "have no order"), ("tags = 'x'", 1, "tags has"), ("not", 4, "it ends"),
        ("config. = 1", 1, "a setting: config.lr"), ("loss is", 8, "known or unknown"),
        ("5 is known", 1, "always known"),
        ("los > 1", 1, "no run has a metric 'los'. Did you mean loss?"), ("loss > zzz", 8, "A text stands in quotes"),
        ("loss > 1 and config.l = 2", 14, "no run has a setting 'l'. Did you mean lr?"), ("loss < 5%%", 10, "'%' has"),
        ("(" * 60 + "loss > 1" + ")" * 60, 51, "more than 50"), ("not " * 60 + "loss > 1", 201, "more than 50"),
        ("loss > 1 or " * 400 + "loss > 1", LONGEST + 1, "2000 characters at most"),
        ("\x00", 1, "'\\x00' has no meaning"),
    ],
)  # fmt: skip
def test_what_is_no_query_is_refused_with_its_place(folder: Path, text: str, at: int, words: str) -> None:
    with pytest.raises(QueryError) as refused:
        ask(folder, text)
    assert refused.value.at == at, refused.value.message
    assert f"at character {at}: " in refused.value.message
    assert words in refused.value.message + str(refused.value.next_step)


@pytest.mark.accepts("R28")
@settings(deadline=None, max_examples=400)
@given(
    text=st.one_of(
        st.text(max_size=60),
        st.lists(
            st.sampled_from(
                [
                    "loss",
                    "(",
                    ")",
                    "and",
                    "or",
                    "not",
                    "in",
                    ">",
                    "=",
                    "~",
                    "'a'",
                    "1",
                    "%",
                    ",",
                    "is",
                    "known",
                    "`x`",
                    "tags",
                ]
            ),
            max_size=12,
        ).map(" ".join),
    )
)
def test_any_text_is_a_query_or_refused(text: str) -> None:
    place = 1
    try:
        parse(text)
    except QueryError as refused:
        place = refused.at
    assert 1 <= place <= len(text) + 1


@pytest.mark.accepts("R28")
def test_hostile_names_and_texts_are_values_and_nothing_else(tmp_path: Path) -> None:
    hostile = "x'); DROP TABLE runs; --"
    jsonl(tmp_path / "m.jsonl", [{"step": 1, hostile: 5.0}])
    (tmp_path / "config.json").write_text(json.dumps({'a"b': "'; SELECT 1"}))
    said = ask(tmp_path, f"`{hostile}` = 5 and config(`a\"b`) = '\\'; SELECT 1' and id != '{'%s' * 9}'")
    assert len(said.runs) == 1
    assert hostile not in said.sql
    assert hostile in said.parameters


@pytest.mark.accepts("R28")
def test_the_command_lists_the_runs_with_what_was_asked(folder: Path, stoker: Asked, tmp_path: Path) -> None:
    said = stoker("query", "val_acc > 80% and config.lr is known", folder)
    assert said.code == 0
    head, first, second, count = said.out.splitlines()
    assert head.split() == ["RUN", "NAME", "STATE", "val_acc", "config.lr"]
    assert [first.split()[-2:], second.split()[-2:]] == [["0.85", "0.0001"], ["0.95", "auto"]]
    assert count == "2 of 4 runs · of 1 it cannot be told: they lack what was asked for"
    value = stoker("query", "val_acc > 80%", folder, "--json").value
    assert [run["values"] for run in value["runs"]] == [{"val_acc": 0.85}, {"val_acc": 0.95}]
    (table, row) = csv.reader(io.StringIO(stoker("query", "loss < 0", folder, "--format", "csv").out))
    assert (table[-1], row[-1]) == ("loss", "-2.5")
    assert "| --- | --- | --- | --- |" in stoker("query", "loss < 0", folder, "--format", "md").out
    refused = stoker("query", "loss <", folder)
    assert (refused.code, refused.out) == (2, "")
    assert "at character 7: it ends" in refused.err
    none = stoker("query", "loss < -1000", folder)
    assert (none.code, none.out) == (0, "0 of 4 runs · of 1 it cannot be told: they lack what was asked for\n")
    assert stoker("query", "loss > 1", tmp_path / "nowhere").code == 2


@pytest.mark.accepts("R28")
def test_tags_and_states_of_real_runs(wandb_runs: Path, stoker: Asked) -> None:
    def ids(text: str) -> set[str]:
        return {run["info"]["id"] for run in stoker("query", text, wandb_runs, "--json").value["runs"]}

    assert ids("state = failed and exit_code = 3") == {"failed"}
    assert ids("tags has one and not tags has three") == {"failed", "finished", "killed"}
    assert ids("tags has on") == set()
    assert ids("state in (finished, failed) and config.optimizer.name = 'adam'") == {"failed", "finished"}
    # Whoever is killed may not have written its last points.
    assert ids("max(ключ) = 59 and notes ~ 'DAY'") - {"killed"} == {"failed", "finished"}


def test_only_what_a_query_names_is_read(folder: Path) -> None:
    def refuse(found: object) -> Any:
        raise AssertionError(f"{found} was read")

    assert len(query(runs_in(folder), "config.lr is known and state = unknown", read=refuse).runs) == 4


def test_a_run_that_cannot_be_read_is_told_and_no_answer(folder: Path) -> None:
    def refuse(found: Found) -> Run:
        if found.info.id.startswith("r1"):
            raise Unreadable("r1 is gone")
        return read(found)

    said = query(runs_in(folder), "val_acc > 0", read=refuse)
    assert (len(said.runs), said.total, said.unreadable, said.exit_code) == (2, 3, ("r1 is gone",), 1)


def test_names_that_are_no_utf8_are_runs_like_others(tmp_path: Path, stoker: Asked) -> None:
    for number, name in enumerate((b"r\xff.jsonl", b"plain.jsonl")):
        jsonl(tmp_path / "runs" / os.fsdecode(name), [{"step": 1, "loss": number}])
    assert len(ask(tmp_path / "runs", "loss < 0.5").runs) == 1
    (odd,) = ask(tmp_path / "runs", "id = 'r\udcff.jsonl'").runs
    assert odd.info.id == "r\udcff.jsonl"
    said = stoker("query", "loss < 5", tmp_path / "runs")
    assert (said.code, said.out.splitlines()[-1]) == (0, "2 of 2 runs")
