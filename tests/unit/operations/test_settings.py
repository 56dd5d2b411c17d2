# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings are changed in the file that a person wrote: checked before, whole afterwards, and told without secrets."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path

import pytest

from stoker import config
from stoker.config_edit import parsed, parts_of, with_setting, without_setting
from stoker.errors import NotFound, StokerError, UsageError
from stoker.marked import ConfigError
from stoker.operations import policy, settings
from stoker.operations.session import Session

TEXT = """\
# The cluster of the second floor.
---
inventory:   "hosts.yml"   # written by hand

launcher:
    # quick calls
    idle_s: 120   # two minutes
metrics:
    - {name: loss,   regex: 'loss=(\\S+)'}   # the only one
    - name: accuracy
      regex: "acc ([0-9.]+)"
forks: 0o17
# the end
"""


@pytest.fixture
def file(session: Session) -> Path:
    path = Path("stoker.yml")
    path.write_text(TEXT)
    Path("hosts.yml").write_text("all: {hosts: {localhost: {ansible_connection: local}}}\n")
    return path


@pytest.mark.accepts("D39")
def test_a_change_touches_its_own_line_and_no_other(session: Session, file: Path) -> None:
    file.chmod(0o640)
    changed = settings.change(session, "launcher.idle_s", "60")
    assert (changed.before, changed.after, changed.changed) == (120.0, 60.0, True)
    assert file.read_text() == TEXT.replace("idle_s: 120   # two", "idle_s: 60    # two")
    assert file.stat().st_mode & 0o777 == 0o640
    assert session.config.launcher.idle_s == 60.0
    assert settings.change(session, "metrics[1].regex", '"acc=(.+)"').after == "acc=(.+)"
    assert settings.change(session, "defaults.on", "dgx").before is None
    assert settings.change(session, "metrics[2]", "{name: lr, regex: 'lr (.+)'}").before is None
    assert [metric.name for metric in session.config.metrics] == ["loss", "accuracy", "lr"]
    for kept in (
        "# The cluster",
        '"hosts.yml"   # written by hand',
        "# quick calls",
        "0o17",
        "# the only one",
        "# the end",
    ):
        assert kept in file.read_text()
    assert list(Path().glob(".stoker.yml.*")) == []


@pytest.mark.accepts("D39")
@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("launcher.idle_s", "soon", "stoker.yml:7: launcher.idle_s: 'soon' is not a number of seconds, 0 or more"),
        ("launcher.idel_s", "3", "launcher.idel_s: there is no such setting. Did you mean 'idle_s'?"),
        ("metrics[0].regex", "'(('", "stoker.yml:9: metrics[0].regex: '((' is not a regular expression"),
        ("metrics[0]", "{name: x}", "metrics[0]: regex is missing"),
        ("forks", "0", "stoker.yml:12: forks: 0 is not a whole number, 1 or more"),
        ("file", "x", "file: there is no such setting"),
        ("prices.half", "1", "prices"),
    ],
)
def test_a_wrong_value_is_told_with_its_line_and_changes_nothing(
    session: Session, file: Path, key: str, value: str, sentence: str
) -> None:
    with pytest.raises(ConfigError) as problem:
        settings.change(session, key, value)
    assert sentence in str(problem.value)
    assert problem.value.exit_code == 2
    assert file.read_text() == TEXT


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("launcher..x", "1", "does not name a setting"), ("forks.x", "1", "forks is not a mapping"),
        ("metrics[7]", "{}", "metrics has 2 entries: the next one is [2]"), ("forks", "[", "is not a value in YAML"),
        ("metrics.x", "1", "metrics is not a mapping"), ("launcher[0]", "1", "launcher is not a list"),
    ],
)  # fmt: skip
def test_what_names_no_setting_is_refused(session: Session, file: Path, key: str, value: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence.replace("[", r"\[")):
        settings.change(session, key, value)
    assert file.read_text() == TEXT


def test_a_setting_is_taken_out_and_its_default_holds(session: Session, file: Path) -> None:
    assert settings.change(session, "launcher.idle_s", unset=True).after == 300.0
    assert "# The cluster" in file.read_text()
    assert "idle_s" not in file.read_text()
    assert "launcher" not in file.read_text()
    with pytest.raises(UsageError, match=r"launcher\.idle_s is not set in the file: its default holds"):
        settings.change(session, "launcher.idle_s", unset=True)
    with pytest.raises(UsageError, match="or --unset"):
        settings.change(session, "launcher.idle_s")


@pytest.mark.accepts("D39")
def test_names_that_yaml_reads_as_numbers_are_found(session: Session) -> None:
    file = Path("stoker.yml")
    file.write_text("notify:\n  telegram:\n    allow:\n      4711: administer  # Jo\n      12: read\n")
    (said,) = settings.get(session, "notify.telegram.allow.4711").settings
    assert (said.value, said.line) == ("administer", 4)
    changed = settings.change(session, "notify.telegram.allow.4711", "read")
    assert (changed.before, changed.after) == ("administer", "read")
    assert file.read_text().count("4711") == 1
    assert settings.change(session, "notify.telegram.allow.4711", unset=True).after is None
    assert "4711" not in file.read_text()
    assert session.config.notify.telegram.allow == {"12": "read"}


@pytest.mark.accepts("D39")
@pytest.mark.parametrize(
    ("text", "key", "other"),
    [
        ("launcher: &x\n  idle_s: 5\nwarmer: *x\n", "launcher.idle_s", "warmer"),
        ("launcher: &x {idle_s: 5}\nwarmer: {<<: *x, more: 1}\n", "launcher.idle_s", "warmer"),
        ("l: [&x {a: 1}, *x]\n", "l[0].a", "l[1]"),
    ],
)
def test_what_an_alias_stands_for_is_not_changed_by_the_way(text: str, key: str, other: str) -> None:
    with pytest.raises(UsageError) as problem:
        with_setting(text, parts_of(key), 7)
    assert f"{key} cannot be changed alone: the file says {other}" in str(problem.value)
    with pytest.raises(UsageError):
        without_setting(text, parts_of(key))


def test_what_was_merged_in_is_said_anew_where_it_is_changed() -> None:
    text = "launcher: &x {idle_s: 5}\nwarmer: {<<: *x, more: 1}\n"
    fresh = with_setting(text, parts_of("warmer.idle_s"), 9)
    assert parsed(fresh)["warmer"]["idle_s"] == 9
    assert parsed(fresh)["launcher"]["idle_s"] == 5
    for key in ("warmer.idle_s", "colder.inner.idle_s"):
        with pytest.raises(UsageError, match=r"stands in another mapping, which the file merges in here \(<<\)"):
            without_setting(text + "colder: {inner: {<<: *x}}\n", parts_of(key))
    with pytest.raises(UsageError, match=r"warmer\.less is not set in the file"):
        without_setting(text, parts_of("warmer.less"))


def test_comments_outlive_the_only_setting(session: Session) -> None:
    Path("stoker.yml").write_text("# ours\n\n# how often\nforks: 3  # few\n# the end\n")
    settings.change(session, "forks", unset=True)
    assert Path("stoker.yml").read_text() == "# ours\n\n# how often\n# the end\n"


@pytest.mark.parametrize("text", ["", "# nothing but words\n", "# no line end"])
def test_a_file_without_settings_gets_its_first(session: Session, text: str) -> None:
    Path("stoker.yml").write_text(text)
    settings.change(session, "launcher.idle_s", "5")
    assert Path("stoker.yml").read_text().startswith(text)
    assert session.config.launcher.idle_s == 5.0


def test_line_ends_and_a_link_stay_what_they_are(session: Session, tmp_path: Path) -> None:
    real = tmp_path / "real.yml"
    real.write_bytes(b"forks: 3 # few\r\n")
    Path("stoker.yml").symlink_to(real)
    settings.change(session, "forks", "4")
    assert real.read_bytes() == b"forks: 4 # few\r\n"
    assert Path("stoker.yml").is_symlink()


def test_a_file_that_cannot_be_written_stays(session: Session, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StokerError, match=r"stoker\.yml cannot be written: No space left on device"):
        settings.change(session, "forks", "4")
    assert file.read_text() == TEXT
    assert list(Path().glob(".stoker.yml.*")) == []


def test_without_a_file_there_is_nothing_to_change(session: Session) -> None:
    for act in (lambda: settings.change(session, "forks", "4"), lambda: settings.check(session)):
        with pytest.raises(NotFound, match=r"there is no stoker\.yml"):
            act()


def _count(number: int, folder: str) -> None:
    settings.change(Session(config_file=Path(folder, "stoker.yml")), f"placement.group_limits.g{number}", str(number))


def test_changes_at_one_time_are_all_kept(session: Session, file: Path) -> None:
    several = [multiprocessing.get_context("fork").Process(target=_count, args=(n, str(Path.cwd()))) for n in range(6)]
    for one in several:
        one.start()
    for one in several:
        one.join()
    assert config.load(file).placement.group_limits == {f"g{n}": n for n in range(6)}


@pytest.mark.accepts("D39", "C57")
def test_drift_is_shown_against_the_defaults_and_against_another_file(session: Session, file: Path) -> None:
    drift = settings.diff(session)
    assert {one.key for one in drift.differences} == {
        "inventory", "launcher.idle_s", "forks", "metrics[0].name", "metrics[0].regex", "metrics[0].keep",
        "metrics[1].name", "metrics[1].regex", "metrics[1].keep",
    }  # fmt: skip
    other = Path("other.yml")
    other.write_text(TEXT.replace("120", "30") + "prices: [{gpu: H100, per_hour: 2}]\n")
    found = {one.key: (one.here, one.there, one.only) for one in settings.diff(session, against=str(other)).differences}
    assert found == {
        "launcher.idle_s": (120.0, 30.0, None),
        "prices[0].gpu": (None, "H100", "there"), "prices[0].per_hour": (None, 2.0, "there"),
    }  # fmt: skip
    other.write_text("forks: no\n")
    with pytest.raises(ConfigError, match=r"other\.yml:1: forks"):
        settings.diff(session, against=str(other))


def test_what_is_set_is_told_with_its_line(session: Session, file: Path) -> None:
    said = {one.key: (one.value, one.line) for one in settings.check(session).settings}
    assert said["launcher.idle_s"] == (120.0, 7)
    assert said["metrics[1].regex"] == ("acc ([0-9.]+)", 11)
    assert "launcher.enabled" not in said
    assert [one.line for one in settings.get(session, "launcher").settings] == [None, 7]
    with pytest.raises(NotFound, match=r"no setting 'launcher.idel_s'. Did you mean 'launcher.idle_s'\?"):
        settings.get(session, "launcher.idel_s")
    file.write_text("forks: none\n")
    with pytest.raises(ConfigError, match=r"stoker\.yml:1: forks: 'none' is not a whole number"):
        settings.check(session, "stoker.yml")


@pytest.mark.accepts("D39")
def test_secrets_are_never_shown(session: Session) -> None:
    Path("stoker.yml").write_text(
        "store: postgresql+psycopg://me:hunter22@db/stoker\n"
        "agents:\n  coder:\n    argv: [coder, --api-key, abcdef123456]\n    env: {PLAIN: opensesame}\n"
    )
    told = [settings.get(session), settings.check(session), settings.diff(session)]
    told += [settings.change(session, "agents.coder.env", "{PLAIN: opensesame2}")]
    told += [settings.change(session, "agents.coder.env.MORE", "opensesame3")]
    told += [settings.change(session, "store", "postgresql+psycopg://me:hunter23@db/stoker")]
    text = json.dumps([repr(one) for one in told])
    for secret in ("hunter2", "abcdef123456", "opensesame"):
        assert secret not in text
    assert "PLAIN" in text
    assert "hunter23" in Path("stoker.yml").read_text()
    kept = policy.shown({"key": "agents.coder.env.MORE", "value": "opensesame3"})
    assert kept == {"key": "agents.coder.env.MORE", "value": {"length": 11}}
