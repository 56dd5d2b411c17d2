# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""stoker.yml: found upward, and wrong settings are told with file, line and field."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from stoker import config
from stoker.errors import NotFound, UsageError
from stoker.operations.session import Session


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("STOKER_CONFIG", "STOKER_INVENTORY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("launcher:\n  idle_s: five\n", "stoker.yml:2: launcher.idle_s: 'five' is not a number of seconds, 0 or more"),
        ("launcher:\n\n  idle_s: -1\n", "stoker.yml:3: launcher.idle_s: -1.0 is not a number of seconds, 0 or more"),
        ("inventroy: x\n", "stoker.yml:1: inventroy: there is no such setting. Did you mean 'inventory'?"),
        ("forks: 2\nlauncher:\n  idel_s: 3\n", "stoker.yml:3: launcher.idel_s: there is no such setting. Did you mean"),
        ("metrics:\n  - name: loss\n    regex: '(('\n", "yml:3: metrics[0].regex: '((' is not a regular expression"),
        ("metrics:\n  - name: loss\n", "stoker.yml:2: metrics[0]: regex is missing"),
        ("metrics: 3\n", "stoker.yml:1: metrics: 3 is not a list of {name, regex, keep}"),
        ("log_patterns:\n  - 5\n", "stoker.yml:2: log_patterns[0]: 5 is not a mapping with name, regex, severity"),
        ("membership:\n  misses: 0\n", "stoker.yml:2: membership.misses: 0 is not a whole number, 1 or more"),
        ("access: {cli: king}\n", "stoker.yml:1: access.cli: 'king' is not one of read, operate, spend, administer"),
        ("access: {allow: {king: [a]}}\n", "stoker.yml:1: access.allow.king: ['a'] is not part of a mapping of roles"),
        ("access: {deny: {read: a}}\n", "stoker.yml:1: access.deny.read: 'a' is not part of a mapping of roles (read,"),
        ("membership: {auto_approve: gpu}\n", "stoker.yml:1: membership.auto_approve: 'gpu' is not a list of groups"),
        ("launcher: {enabled: maybe}\n", "stoker.yml:1: launcher.enabled: 'maybe' is not true or false"),
        ("prices:\n  - {gpu: '*', per_hour: half}\n", "stoker.yml:2: prices[0].per_hour: 'half' is not a number"),
        ("prices:\n  - {gpu: '*', per_hour: -1}\n", "prices[0].per_hour: -1.0 is not a number of"),
        ("inventory: a\ninventory: b\n", "stoker.yml:2: not valid YAML: found duplicate key"),
        ("inventory: [\n", "not valid YAML"),
        ("- a\n", "stoker.yml:1: is not a mapping of settings"),
        ("defaults:\n  grace_s: .nan\n", "stoker.yml:2: defaults.grace_s: nan is not a number of seconds, 0 or more"),
        ("telemetry: {disk_pct: .nan}\n", "stoker.yml:1: telemetry.disk_pct: nan is not a share in percent"),
        ("prices: [{gpu: x, per_hour: .nan}]\n", "prices[0].per_hour: nan is not a number of dollars"),
        ("lease: {seconds: .inf}\n", "stoker.yml:1: lease.seconds: inf is not a number of seconds, 5 or more"),
        ("placement: {weights: {cpu: .inf}}\n", "placement.weights.cpu: inf is not a weight"),
        ("placement:\n  group_limits: {all: -1}\n", "yml:2: placement.group_limits.all: -1 is not a whole number"),
        ("placement: {group_limits: {all: x}}\n", "placement.group_limits.all: 'x' is not a whole number, 0 or more"),
        ("defaults: {retries: 99999999999999999999}\n", "defaults.retries: 99999999999999999999 is more than 2,147,"),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_told_with_file_line_and_field(folder: Path, text: str, sentence: str) -> None:
    (folder / "stoker.yml").write_text(text)
    with pytest.raises(config.ConfigError) as told:
        config.load()
    assert sentence in str(told.value)
    assert told.value.exit_code == 2


def test_settings_are_found_in_a_folder_above(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "stoker.yml").write_text(
        "launcher: {enabled: false, idle_s: 4}\nmetrics: [{name: loss, regex: 'l (.*)'}]\n"
    )
    (folder / "a" / "b").mkdir(parents=True)
    monkeypatch.chdir(folder / "a" / "b")
    found = config.load()
    assert found.launcher == config.Launcher(enabled=False, idle_s=4)
    assert found.metrics == (config.Metric("loss", "l (.*)", "series"),)
    assert found.file == folder / "stoker.yml"


def test_a_settings_file_that_was_named_has_to_be_there(folder: Path) -> None:
    with pytest.raises(NotFound, match="no settings file"):
        config.load(folder / "other.yml")


def test_the_inventory_is_the_one_named_then_the_variable_then_the_setting_then_the_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = config.Config()
    assert config.inventory_path(plain) is None
    (folder / "inventory.yml").touch()
    assert config.inventory_path(plain) == folder / "inventory.yml"
    (folder / "set.yml").touch()
    (folder / "stoker.yml").write_text("inventory: set.yml\n")
    settings = config.load()
    assert config.inventory_path(settings) == folder / "set.yml"
    (folder / "env.yml").touch()
    monkeypatch.setenv("STOKER_INVENTORY", "env.yml")
    assert config.inventory_path(settings) == folder / "env.yml"
    (folder / "named.yml").touch()
    assert config.inventory_path(settings, Path("named.yml")) == folder / "named.yml"
    with pytest.raises(NotFound, match="named by --inventory"):
        config.inventory_path(settings, Path("absent.yml"))


def test_without_a_settings_file_no_reader_is_imported(folder: Path) -> None:
    code = (
        "import sys, stoker.config as c; c.load(); print([m for m in sys.modules if m in ('pydantic', 'ruamel.yaml')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=folder)
    assert done.stdout.strip() == "[]"


def test_a_file_of_that_name_that_is_none_is_refused(folder: Path) -> None:
    named = folder / "stoker.yml"
    named.mkdir()
    with pytest.raises(config.ConfigError, match=r"stoker\.yml: cannot be read: .*directory"):
        config.load()
    named.rmdir()
    named.symlink_to("nowhere.yml")
    with pytest.raises(config.ConfigError, match=r"stoker\.yml: is a link to a file that is not there"):
        config.load()


def test_a_wrong_store_is_told_with_who_named_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STOKER_STORE_URL", "foo")
    with pytest.raises(UsageError, match=r"^STOKER_STORE_URL: the store URL is not a database URL$"):
        Session().store  # noqa: B018
    (folder / "stoker.yml").write_text("forks: 2\nstore: foo\n")
    with pytest.raises(UsageError, match=r"^stoker\.yml:2: store: the store URL is not a database URL$"):
        Session().store  # noqa: B018
