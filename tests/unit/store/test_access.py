# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tokens and calls in the store: a key is given once, also when several ask at the same moment."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from stoker.errors import UsageError
from stoker.store import Store, TokenRow

CALL = {"via": "stdio", "role": "operate", "operation": "jobs.run", "arguments": {"name": "x\0"}, "outcome": "running"}


@pytest.mark.accepts("B15")
def test_of_many_calls_with_one_key_one_is_the_first(store: Store) -> None:
    def begin(_number: int) -> tuple[int, bool]:
        seq, before = store.calls.begin(**CALL, who="alice", key="k", digest="d")  # type: ignore[arg-type]
        return seq, before is None

    with ThreadPoolExecutor(8) as several:
        begun = list(several.map(begin, range(16)))
    assert sum(first for _seq, first in begun) == 1
    assert len({seq for seq, _first in begun}) == 1
    store.calls.end(begun[0][0], "ok", answer='{"a": 1}')
    _seq, before = store.calls.begin(**CALL, who="alice", key="k", digest="d")  # type: ignore[arg-type]
    assert before is not None
    assert (before.outcome, before.answer, before.digest) == ("ok", '{"a": 1}', "d")
    assert store.calls.begin(**CALL, who="bob", key="k")[1] is None  # type: ignore[arg-type]


def test_calls_without_a_key_are_each_their_own_and_keep_no_answer(store: Store) -> None:
    numbers = [store.calls.begin(**CALL, who="alice")[0] for _ in range(3)]  # type: ignore[arg-type]
    assert len(set(numbers)) == 3
    store.calls.end(numbers[0], "error", detail="why", answer="secret")
    found = {call.seq: call for call in store.calls.newest(10)}
    assert (found[numbers[0]].detail, found[numbers[0]].answer) == ("why", None)
    assert [call.seq for call in store.calls.newest(10, outcomes=["error", "denied"])] == [numbers[0]]
    assert store.calls.newest(10, who="bob") == []


def test_a_key_that_is_forgotten_can_be_used_again(store: Store) -> None:
    seq, _ = store.calls.begin(**CALL, who="alice", key="k")  # type: ignore[arg-type]
    store.calls.forget_key(seq)
    assert store.calls.begin(**CALL, who="alice", key="k")[1] is None  # type: ignore[arg-type]


def test_tokens_are_found_by_their_digest(store: Store) -> None:
    for name in ("b", "a"):
        store.tokens.add(TokenRow(name, f"digest of {name}", "read", 1.0, "me", 2.0))
    with pytest.raises(UsageError, match="there is a token 'a' already"):
        store.tokens.add(TokenRow("a", "other", "read", 1.0, None, None))
    assert [token.name for token in store.tokens.list()] == ["a", "b"]
    found = store.tokens.of_digest("digest of b")
    assert found is not None
    assert found.name == "b"
    assert store.tokens.of_digest("digest") is None
    assert store.tokens.remove("b")
    assert not store.tokens.remove("b")
