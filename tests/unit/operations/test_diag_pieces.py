# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A piece of a bundle that cannot be had or written as it is stops nothing else."""

from __future__ import annotations

import json
import os

import pytest

from stoker.operations.diag import _Collected, _settings
from stoker.operations.session import Session


def test_a_variable_that_is_no_text_is_in_the_bundle(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environb, b"STOKER_ODD", b"a\xffb")
    found = _Collected(session, ())
    found.attempt("settings", lambda: _settings(found))
    assert found.missing == []
    assert json.loads(found.files["settings.json"])["environment"]["STOKER_ODD"] == "a?b"


def test_what_makes_no_sense_is_told_and_stops_nothing(session: Session) -> None:
    found = _Collected(session, ())
    found.attempt("a document", lambda: json.loads("{"))
    assert [one.what for one in found.missing] == ["a document"]
