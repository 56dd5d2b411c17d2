# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Conditions of workflows: what is understood, and everything that is refused before it is compiled."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stoker.dispatch.expressions import (
    ExpressionError,
    Names,
    Parent,
    check_condition,
    check_inserts,
    holds,
    inserted,
)

NAMES = Names(
    {"prep": Parent(frozenset({"path", "items", "loss"})), "grid": Parent(frozenset({"x"}), many=True)},
    {"lr": 0.1, "full": True, "mode": "fast"},
    {"seed": [1, 2], "mixed": [1, "a"]},
)
VALUES: dict[str, Any] = {
    "parent": {
        "prep": {
            "state": "succeeded", "exit_code": 0, "stdout": "all good\n",
            "outputs": {"path": "/x", "items": "12", "loss": None},
        },
        "grid": {"state": "failed", "exit_code": 3, "stdout": ["a", "b"], "outputs": {"x": ["1", None]}},
    },
    "context": {"lr": 0.1, "full": True, "mode": "fast"},
    "matrix": {"seed": 2, "mixed": "a"},
}  # fmt: skip


@pytest.mark.accepts("C47")
@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("parent.prep.exit_code == 0", True),
        ("parent.prep.state == 'succeeded' and parent.grid.exit_code == 3", True),
        ("parent.prep.state in ['failed', 'cancelled']", False),
        ("'good' in parent.prep.stdout", True),
        ("parent.prep.outputs.items | int > 11", True),
        ("parent.prep.outputs.loss | default('9') | float < 1", False),
        ("parent.prep.outputs.loss == none", True),
        ("'1' in parent.grid.outputs.x", True),
        ("parent.grid.outputs.x | join(',') == '1'", True),
        ("context.full and not (matrix.seed != 2)", True),
        ("context.lr < 0.5 or context.mode == 'slow'", True),
        ("-1 < parent.prep.exit_code <= 0", True),
        ("context.mode | lower == 'fast'", True),
        ("matrix.mixed == 'a'", True),
        ("true", True),
    ],
)
def test_what_is_understood(text: str, answer: bool) -> None:
    check_condition(text, NAMES)
    assert holds(text, VALUES) is answer


@pytest.mark.parametrize("between", ["1", "matrix.seed", "context.lr", "parent.prep.exit_code", "none", "true"])
def test_what_cannot_stand_between_the_values_is_refused(between: str) -> None:
    with pytest.raises(ExpressionError, match="join puts a text between the values, not "):
        check_inserts(f"{{{{ parent.grid.stdout | join({between}) }}}}", NAMES)


def test_what_stands_between_may_turn_out_to_be_a_number() -> None:
    text = "{{ parent.grid.stdout | join(matrix.mixed) }}"
    check_inserts(text, NAMES)
    assert inserted(text, {**VALUES, "matrix": {"mixed": 1}}) == "a1b"


@pytest.mark.parametrize(("text", "values"), [("context.mode == 'x'", {}), ("matrix.seed < 2", {"matrix": {}})])
def test_what_the_template_engine_raises_is_an_expression_without_an_answer(text: str, values: dict[str, Any]) -> None:
    """A step read from a store may say what no check saw: it fails, and the round goes on."""
    with pytest.raises(ExpressionError, match="has no answer"):
        holds(text, values)


ESCAPES = [
    "constructor", "parent.constructor.constructor('return 1')()", "''.__class__", "''['__class__'] == 'x'",
    "parent.prep.__class__ == 'x'", "parent.prep.outputs.__init__ == 'x'", "parent.__class__.__mro__ == 'x'",
    "context.__class__.__base__.__subclasses__() == 1", "self.__init__", "self == 1", "cycler.__init__ == 'x'",
    "lipsum.__globals__.os == 'x'", "namespace(a=1) == 1", "range(999999999) == 1", "dict(a=1) == 1", "joiner() == 1",
    "config == 1", "request == 1", "loop.index == 1", "caller() == 1", "import os", "__import__('os') == 1",
    "parent.prep.stdout.format(1) == 'x'", "'%s' % parent.prep.stdout == 'x'", "'{0.__class__}'.format(1) == 'x'",
    "parent.prep.stdout | attr('__class__') == 'x'", "parent | map(attribute='x') | list == 1",
    "parent.prep.stdout | replace('a', 'b') == 'x'", "parent.prep.stdout | format == 'x'", "context | items == 1",
    "parent.prep.stdout | select('x') == 1", "parent['prep'].state == 'failed'", "parent.prep['stdout'] == 'x'",
    "parent.prep.stdout[0] == 'x'", "parent.prep.stdout[0:5] == 'x'", "[1, 2][0] == 1", "{'a': 1} == 1",
    "2 ** 99999999 == 1", "'a' * 999999999 == 'x'", "9 * 9 == 1", "1 + 1 == 2", "1 // 0 == 1", "'a' ~ 'b' == 'ab'",
    "1 if true else 2", "parent.prep.stdout is defined", "x is callable", "parent.prep.outputs.items() == 'x'",
    "context.update(lr=1) == 1", "1 == 1 }}{% for x in range(9) %}{{ x", "1 == 1 %}", "{% set x = 1 %}", "{# x #}",
    "1 == 1\n}}{{ lipsum }}", "parent.prep.outputs.path | lower(x=1) == 'x'", "context.mode | default(*parent) == 'x'",
    "(lambda: 1)() == 1", "f'{1}' == '1'", "`id` == 1", "$(id) == 1", "parent.prep.exit_code.real == 0",
    "context.lr.as_integer_ratio == 1", "parent.prep.state.upper == 'X'", "none.x == 1", "\\x5f == 1",
]  # fmt: skip


@pytest.mark.accepts("C47")
@pytest.mark.parametrize("text", ESCAPES)
def test_every_way_out_is_refused_when_it_is_read(text: str) -> None:
    with pytest.raises(ExpressionError):
        check_condition(text, NAMES)
    with pytest.raises(ExpressionError):
        check_inserts("{{ " + text + " }}", NAMES)


@pytest.mark.accepts("C47")
@pytest.mark.parametrize(
    "text",
    [
        "(" * 200 + "1" + ")" * 200, "not " * 70 + "true", "-" * 290 + "1 == 1", "1 == " * 70 + "1",
        "'" + "a" * 400 + "'", "[" * 100 + "]" * 100, "1e999999999 | int == 1 and " * 40 + "true", "9" * 5000,
        "", "   ", "==", "and", "'",
    ],
)  # fmt: skip
def test_size_is_no_way_out_either(text: str) -> None:
    began = time.process_time()
    try:
        check_condition(text, NAMES)
        holds(text, VALUES)
    except ExpressionError:
        pass
    assert time.process_time() - began < 2


@pytest.mark.accepts("C47")
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("parent.prp.exit_code == 0", "knows no parent.prp: it is none of the steps that this one needs"),
        ("parent.prep.outputs.pth == 'x'", "prep has no output 'pth' (there are items, loss, path)"),
        ("parent.prep.code == 0", "of a parent there is state, exit_code, stdout or outputs.NAME, not code"),
        ("parent.prep == 0", "not the whole"),
        ("context.rl == 1", "knows no context.rl (there are full, lr, mode)"),
        ("parent.prep.state == 'success'", "'success' is no state of a step that is over"),
        ("parent.prep.state in ['succeded']", "'succeded' is no state"),
        ("parent.prep.outputs.items > 3", "compares a text with a number: make it one with | float or | int"),
        ("parent.prep.exit_code == '0'", "compares a number with a text"),
        ("parent.grid.outputs.x == '1'", "compares a list with a text"),
        ("parent.prep.stdout", "is neither true nor false: compare it with something"),
        ("parent.prep.exit_code and context.full", "take what is true or false"),
        ("context.mode | upper == 'X'", "has no filter 'upper' (there are int, float, lower, default, join)"),
        ("parent.prep.exit_code = 0", "cannot be read"),
        ("parent.prep.exit_code == 0 }}", "'}}' was not expected"),
        ("context.mode | default == 'x'", "default needs a value"),
    ],
)
def test_what_is_wrong_is_said_in_words(text: str, words: str) -> None:
    with pytest.raises(ExpressionError) as told:
        check_condition(text, NAMES)
    assert words in str(told.value)


def test_what_a_condition_judges() -> None:
    use = check_condition("parent.prep.exit_code == 0 and 'x' in parent.grid.outputs.x", NAMES)
    assert (use.parents, use.judged) == (frozenset({"prep", "grid"}), frozenset({"prep"}))


def test_a_value_of_the_wrong_kind_is_no_answer() -> None:
    for text in ("parent.prep.outputs.path | int == 1", "parent.prep.outputs.loss | float < 1"):
        check_condition(text, NAMES)
        with pytest.raises(ExpressionError, match="has no answer"):
            holds(text, VALUES)


def test_values_go_into_texts_as_they_are() -> None:
    text = "--data={{ parent.prep.outputs.path }} {{context.lr}} {{ context.full }} {{ '{{' }} {x} {{ matrix.seed }}"
    assert check_inserts(text, NAMES).parents == {"prep"}
    assert inserted(text, VALUES) == "--data=/x 0.1 true {{ {x} 2"
    for wrong in ("{{ parent.grid.stdout }}", "{{ none }}"):
        with pytest.raises(ExpressionError):
            check_inserts(wrong, NAMES)
    with pytest.raises(ExpressionError, match="has no value"):
        inserted("{{ parent.prep.outputs.loss }}", VALUES)


@pytest.mark.accepts("C47")
@settings(deadline=None, max_examples=200)
@given(st.lists(st.sampled_from(["{{ context.mode }}", "{{", "}}", "{%", "x"]) | st.text(max_size=9)).map("".join))
def test_what_a_log_says_is_only_ever_a_value(said: str) -> None:
    values = {**VALUES, "parent": {"prep": {**VALUES["parent"]["prep"], "stdout": said, "outputs": {"path": said}}}}
    assert inserted("<{{ parent.prep.outputs.path }}>", values) == f"<{said}>"
    assert holds("parent.prep.stdout == parent.prep.outputs.path", values)


@settings(deadline=None, max_examples=300)
@given(st.text(alphabet="parent.prepstdout_[](){}|'\"=<>notandin 0123,~*+%#-\\\n", max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        check_condition(text, NAMES)
    except ExpressionError:
        return
    try:
        assert isinstance(holds(text, VALUES), bool)
    except ExpressionError:
        pass
