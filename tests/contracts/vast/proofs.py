# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""For each fault of the provider's contract, the tests that prove it over the whole life of a machine.

`LIVES 13` are the lives of test_rented_faults.py whose names begin with that number; all else is a file and a test.
"""

from __future__ import annotations

_TENDING, _TROUBLE, _GAPS = (f"integration/test_rented_{name}.py" for name in ("tending", "trouble", "gaps"))
_LOSS = "e2e/test_rented.py::test_a_training_that_loses_its_machine_ends_as_if_nothing_had_been"

# number: (what goes wrong, where that is proven)
PROOFS: dict[int, tuple[str, tuple[str, ...]]] = {
    1: (
        "a create is carried out and answered with 502",
        ("LIVES 1", f"{_GAPS}::test_what_is_found_by_its_label_costs_since_it_was_asked_for"),
    ),
    2: ("a create is carried out and the connection is cut", ("LIVES 2",)),
    3: ("a create is refused, and makes an instance", ("LIVES 3",)),
    4: ("the ask is gone", ("LIVES 4",)),
    5: ("too many calls, in all forms", ("LIVES 5",)),
    6: ("stuck before it runs", ("LIVES 6",)),
    7: ("it runs, and its sshd does not answer, comes late, or is another one", ("LIVES 7",)),
    8: ("no address of its own, or one with blanks", ("LIVES 8",)),
    9: ("rows with fields that are null", ("LIVES 9",)),
    10: ("a list in pages, and one that is lost", ("LIVES 10",)),
    11: ("the old list answers, or is gone as in all other lives", ("LIVES 11",)),
    12: (
        "a list that is none",
        ("LIVES 12", f"{_TROUBLE}::test_without_a_list_a_machine_ends_all_the_same_when_its_time_is_over"),
    ),
    13: (
        "outbid while a job runs",
        ("LIVES 13", f"{_TENDING}::test_a_loss_is_proven_by_the_provider_and_the_job_gets_another_machine"),
    ),
    14: ("started again, and its GPUs are somebody else's", ("LIVES 14",)),
    15: ("its host is offline", ("LIVES 15",)),
    16: ("exited, with a reason", ("LIVES 16", _LOSS)),
    17: ("the credit is used up", ("LIVES 17", f"{_GAPS}::test_a_start_that_is_refused_keeps_the_disk")),
    18: ("its contract is over", ("LIVES 18",)),
    19: ("destroyed, and still there, or said not to be", ("LIVES 19",)),
    20: (
        "to be destroyed while its create is not answered",
        (f"{_TENDING}::test_a_create_in_flight_and_somebody_who_ends_the_job_meanwhile",),
    ),
    21: ("a label that looks like ours", ("LIVES 21", "e2e/test_rented.py::test_machines_by_hand")),
    22: ("a price rise", ("LIVES 22",)),
    23: ("a start in the future", ("LIVES 23",)),
    24: ("a log of the provider that never comes: what a job says is read by ssh", ("LIVES 24",)),
    25: ("notices that are lost, late, double or forged: nothing listens", ("LIVES 25", _LOSS)),
}
