# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bringing a version of the node side, on this very machine: what is not whole, lies, or was cut off in the middle."""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from testbed.node_side import build_bundle

from ansible_collections.stoker.fleet.plugins.module_utils import version_test, version_update, versions

VERSION, PACKAGE = build_bundle()
# No control groups of this machine's own.
RUNGS = {"rungs": ["subreaper"]}


@pytest.fixture
def place(tmp_path: Path) -> Iterator[versions.Place]:
    """A state folder with nothing in it; at the end nothing runs from there any more."""
    made = versions.Place(str(tmp_path / "state"), RUNGS)
    yield made
    deadline = time.monotonic() + 60
    while left := list(versions.processes(made.bin)):
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


def odd(main: str) -> tuple[str, bytes]:
    """A version that is nothing but this program: (hash, zip), made as a controller makes one."""
    packed, data = io.BytesIO(), main.encode()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("__main__.py", data)
    return hashlib.sha256(b"__main__.py\0" + data + b"\0").hexdigest()[:16], packed.getvalue()


def names(place: versions.Place) -> list[str]:
    return sorted(path.name for path in Path(place.bin).iterdir() if path.name != ".update.lock")


def bring(place: versions.Place, version: str = VERSION, package: bytes = PACKAGE) -> dict[str, Any]:
    told: dict[str, Any] = version_update.bring(place, version, package, False)
    return told


def test_a_version_is_named_by_its_files_as_the_controller_names_it(place: versions.Place) -> None:
    assert bring(place)["outcome"] == "updated"
    assert names(place) == [VERSION]
    folder = Path(place.folder(VERSION))
    assert list(folder.rglob("__pycache__"))  # it ran
    assert versions.digest(str(folder)) == VERSION
    (folder / "stoker_node" / "ctl.py").write_text("")
    assert versions.digest(str(folder)) != VERSION
    assert bring(place)["outcome"] == "updated"  # what is damaged is brought again
    assert versions.digest(str(folder)) == VERSION
    again = bring(place)
    assert (again["outcome"], names(place)) == ("present", [VERSION])


ANSWERS = {
    "nothing": "",
    "no JSON": "print('STOKER-REPLY {')",
    "no object": "print('STOKER-REPLY []')",
    "nothing of what was asked": "print('STOKER-REPLY {\"ok\": true}')",
    "that all is well, always": "import json\n"
    "seen = dict(job='selftest', attempt=1, state='succeeded', exit_code=0, last_line='')\n"
    "print('STOKER-REPLY ' + json.dumps(dict(ok=True, orders=[dict(error=None)], attempts=[seen])))",
    "an error": "raise ImportError('no module named fcntl')",
}


@pytest.mark.accepts("C40")
@pytest.mark.parametrize("says", ANSWERS)
def test_a_version_that_answers_wrongly_is_put_back(place: versions.Place, says: str) -> None:
    assert bring(place)["outcome"] == "updated"
    version, package = odd(ANSWERS[says])
    told = bring(place, version, package)
    assert (told["outcome"], told["before"], told["back_reason"]) == ("put_back", VERSION, None)
    assert told["reason"]
    assert names(place) == sorted([VERSION, f"{version}.kept"])
    seen = versions.look(place, version)
    assert (seen["used"], seen["kept"]["reason"]) == (VERSION, told["reason"])


@pytest.mark.accepts("C40")
def test_one_that_came_by_first_contact_is_tested_in_its_place(place: versions.Place) -> None:
    bring(place)
    version, package = odd("raise SystemExit(3)")
    zipfile.ZipFile(io.BytesIO(package)).extractall(place.folder(version))
    assert versions.look(place, version)["used"] == version
    told = bring(place, version, package)
    assert (told["outcome"], told["before"]) == ("put_back", VERSION)
    assert names(place) == sorted([VERSION, f"{version}.kept"])


@pytest.mark.accepts("C40")
def test_one_that_failed_and_is_held_by_a_job_is_not_the_version_before(place: versions.Place) -> None:
    bring(place)
    held, package = odd("raise SystemExit(3)")
    zipfile.ZipFile(io.BytesIO(package)).extractall(place.folder(held))
    job = subprocess.Popen([sys.executable, "-c", "input()", place.folder(held), "install", "-"], stdin=subprocess.PIPE)
    try:
        assert bring(place, held, package)["outcome"] == "put_back"
        assert names(place) == sorted([VERSION, held, f"{held}.kept"])
        third, package = odd("raise SystemExit(4)")
        told = bring(place, third, package)
        assert (told["outcome"], told["before"], told["back_reason"]) == ("put_back", VERSION, None)
        seen = versions.look(place, third)
        assert (seen["used"], seen["kept"]["version"], seen["ill"]) == (VERSION, VERSION, [])
    finally:
        job.communicate(b"\n")


def test_one_that_fails_where_nothing_was_before_leaves_nothing(place: versions.Place) -> None:
    version, package = odd("raise SystemExit(3)")
    told = bring(place, version, package)
    assert (told["outcome"], told["before"], names(place)) == ("put_back", None, [])
    assert "ended with 3" in told["reason"]


def test_what_did_not_come_whole_is_not_even_tested(place: versions.Place) -> None:
    bring(place)
    told = bring(place, "0" * 16, PACKAGE)
    assert (told["outcome"], told["before"]) == ("put_back", VERSION)
    assert told["reason"] == f"it did not come whole: its files give {VERSION}"
    assert bring(place, "1" * 16, PACKAGE[:-99])["outcome"] == "put_back"


def test_what_an_update_that_was_killed_left_is_removed_by_the_next_one(place: versions.Place) -> None:
    for name in (".trial-1-2", ".gone-1-2", ".test-77"):
        os.makedirs(os.path.join(place.bin, name, "jobs"))
    stray = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, cwd=f"{place.bin}/.test-77")
    assert bring(place)["outcome"] == "updated"
    assert stray.wait(180) < 0
    assert names(place) == [VERSION]


@pytest.mark.parametrize("rest", [b"{}", b"[]", b"\xff\xfe", b""])
def test_a_note_that_is_damaged_still_says_which_version_is_used(place: versions.Place, rest: bytes) -> None:
    bring(place)
    Path(place.note("0" * 16)).write_bytes(VERSION.encode() + b"\n" + rest)
    seen = versions.look(place, "0" * 16)
    assert (seen["used"], seen["kept"]) == (VERSION, {"version": VERSION, "reason": None, "at": None})


@pytest.mark.accepts("C39")
@pytest.mark.parametrize("says", ["no JSON", "no object"])
def test_a_version_there_that_answers_wrongly_is_a_fault_of_the_node(place: versions.Place, says: str) -> None:
    version, package = odd(ANSWERS[says])
    zipfile.ZipFile(io.BytesIO(package)).extractall(place.folder(version))
    (fault,) = versions.look(place, VERSION)["ill"]
    assert fault.startswith(
        f"the version that is used there, {version}, does not answer: its answer cannot be understood"
    )


def test_what_a_first_contact_that_was_cut_off_left_is_removed_once_it_is_old(place: versions.Place) -> None:
    old, young = "0" * 16, "1" * 16
    for name in (f"{old}.1.tmp", f"{old}.2.old", f"{young}.3.tmp"):
        os.makedirs(os.path.join(place.bin, name, "stoker_node"))
    Path(place.bin, f"{old}.kept.4.tmp").touch()
    for path in Path(place.bin).glob(f"{old}.*"):
        os.utime(path, (time.time() - 7200,) * 2)
    assert bring(place)["outcome"] == "updated"
    assert names(place) == sorted([VERSION, f"{young}.3.tmp"])


def test_two_updates_at_once_are_one(place: versions.Place) -> None:
    os.makedirs(place.bin)
    with open(os.path.join(place.bin, ".update.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(versions.RefusedError, match="another update is under way"):
            bring(place)
    assert names(place) == []


@pytest.mark.accepts("C39")
def test_a_node_without_room_or_with_another_ones_folder_is_refused(
    place: versions.Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(versions, "NEEDED_BYTES", 1 << 60)
    with pytest.raises(versions.RefusedError, match=r"MB are free in .*, 1099511627776 are needed"):
        bring(place)
    monkeypatch.undo()
    bring(place)
    Path(place.state, "node.json").write_text(json.dumps({"machine": "another", "hostname": "elsewhere"}))
    version, package = odd("")
    with pytest.raises(
        versions.RefusedError, match=rf"{VERSION}, does not answer: .*the state folder of another machine"
    ):
        bring(place, version, package)
    assert names(place) == [VERSION]


@pytest.mark.accepts("C40")
def test_a_job_that_the_new_version_loses_is_a_reason_to_put_it_back(place: versions.Place) -> None:
    bring(place)
    spec = {"schema": "stoker.spec/1", "job": "long", "uid": "6f2c1c5e-6d5e-4c8e-9d0e-3f1f0a4f8f11",
            "argv": ["sleep", "600"]}  # fmt: skip
    version_test.ask(place, place.folder(VERSION), "reconcile", orders=[{"order": "start", "attempt": 1, "spec": spec}])
    try:
        seen = versions.look(place, VERSION)
        assert (seen["jobs"], seen["versions"][0]["jobs"]) == (["long"], ["long"])
        with pytest.raises(versions.RefusedError, match="jobs run there: long"):
            bring(place)
        # It passes its self-test, and does not know the job.
        version, package = forgetful()
        told = version_update.bring(place, version, package, True)
        assert (told["outcome"], told["reason"]) == ("put_back", "the job long, which ran before, is unknown to it")
        assert versions.look(place, version)["used"] == VERSION
        assert versions.look(place, version)["jobs"] == ["long"]
    finally:
        stop = {"order": "stop", "job": "long", "attempt": 1, "grace_s": 0, "wait_s": 60.0}
        version_test.ask(place, place.folder(VERSION), "reconcile", orders=[stop])


def forgetful() -> tuple[str, bytes]:
    """This version, but it tells of no job but that of a test."""
    digest, packed = hashlib.sha256(), io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(PACKAGE)) as source, zipfile.ZipFile(packed, "w") as archive:
        for name in source.namelist():
            data = source.read(name)
            if name == "stoker_node/ctl.py":
                shown = (
                    b'reply["attempts"] = [item for item in reply["attempts"] if item["job"] == "selftest"]\n        '
                )
                mark = b'reply["logs"] ='
                assert mark in data
                data = data.replace(mark, shown + mark)
            digest.update(name.encode() + b"\0" + data + b"\0")
            archive.writestr(name, data)
    return digest.hexdigest()[:16], packed.getvalue()
