# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each fault of the provider's contract is proven by a test that there is."""

from __future__ import annotations

import ast
import importlib.util
import sys
from pathlib import Path

from contracts.vast.faults import CATALOGUE
from contracts.vast.proofs import PROOFS

TESTS = Path(__file__).parent.parent.parent
FAULTS = range(1, 26)


def lives() -> list[str]:
    """The names of all lives, as their module has them."""
    spec = importlib.util.spec_from_file_location("rented_faults", TESTS / "integration/test_rented_faults.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look themselves up there
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules[spec.name]
    return list(module.LIVES)


def numbers(names: list[str]) -> list[int]:
    return [int(first) for name in names if (first := name.split()[0]).isdigit()]


def test_each_fault_has_a_proof_and_each_proof_is_there() -> None:
    assert list(PROOFS) == list(FAULTS)
    proven = numbers(lives())
    for number, (_, proofs) in PROOFS.items():
        for proof in proofs:
            if proof.startswith("LIVES "):
                assert proof == f"LIVES {number}"
                assert number in proven
                continue
            file, _, name = proof.partition("::")
            parsed = ast.parse((TESTS / file).read_text())
            assert name in [one.name for one in parsed.body if isinstance(one, ast.FunctionDef)], proof
        assert proofs, number


def test_no_life_and_no_switch_is_of_a_fault_that_the_table_lacks() -> None:
    told = {number for number, (_, proofs) in PROOFS.items() if f"LIVES {number}" in proofs}
    assert set(numbers(lives())) == told
    assert {number for number, _, _ in CATALOGUE.values()} - {0} <= set(FAULTS)
