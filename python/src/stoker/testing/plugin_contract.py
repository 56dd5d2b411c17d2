"""What every plugin has to hold, as tests for pytest.

A package tests its plugin by a class of its own:

    from stoker.testing.plugin_contract import PluginContract

    class TestEnergy(PluginContract):
        name = "energy"
        calls = (("energy", {}),)

The package has to be installed (`pip install -e .`), for plugins are found by entry point.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from stoker.cli.build import build
from stoker.cli.main import main
from stoker.cli.render import document, failure
from stoker.config import Config, Plugin
from stoker.errors import StokerError
from stoker.fleet import Fleet
from stoker.marked import ConfigError
from stoker.mcp import arguments
from stoker.operations import plugin_failures, plugin_loading, plugin_settings
from stoker.operations.events import Event
from stoker.operations.plugin_lasting import Lasting
from stoker.operations.plugin_loading import Installed
from stoker.operations.session import Session

# What no plugin calls a setting.
_NO_KEY = "no_such_key_"
_KINDS = ("job.queued", "job.running", "job.succeeded", "job.failed", "node.unreachable", "never.heard_of")


class PluginContract:
    """The tests. `name` is the plugin's; `calls` are commands that change nothing, with arguments, to be compared."""

    name: ClassVar[str]
    calls: ClassVar[Sequence[tuple[str, Mapping[str, Any]]]] = ()

    @pytest.fixture
    def plugin_place(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """An empty folder to stand in, with a store and a state folder of its own."""
        here = tmp_path / "here"
        here.mkdir()
        monkeypatch.chdir(here)
        monkeypatch.setenv("STOKER_STATE_HOME", str(tmp_path / "state"))
        for name in ("STOKER_STORE_URL", "STOKER_INVENTORY", "STOKER_CONFIG"):
            monkeypatch.delenv(name, raising=False)
        return here

    def test_it_is_found_and_loads(self, plugin_place: Path) -> None:
        """The entry point is there, and nothing raises."""
        one = self._one()
        assert one.failed is None, one.failed

    def test_each_operation_is_a_command_a_method_and_a_tool(self, plugin_place: Path) -> None:
        """With help, and a JSON schema of its arguments, each of which is described."""
        one = self._one()
        app = build(lambda _call: 0, None)
        for operation in one.operations:
            found = app
            for word in operation.command.split():
                found = found[word]
            takes = arguments.input_schema(operation)
            undescribed = [name for name, entry in takes["properties"].items() if "description" not in entry]
            assert not undescribed, f"{operation.command}: the docstring says nothing of {undescribed}"

    def test_calls_answer_the_same_by_command_line_and_api(
        self, plugin_place: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """As JSON; what is refused, too."""
        one = self._one()
        by_command = {operation.command: operation for operation in one.operations}
        for command, given in self.calls:
            options = [part for name, value in given.items() for part in (f"--{name.replace('_', '-')}", str(value))]
            capsys.readouterr()
            main([*command.split(), *options, "--json"])
            printed = json.loads(capsys.readouterr().out)
            operation = by_command[command]
            with Fleet() as fleet:
                try:
                    value = getattr(getattr(fleet, self.name), operation.method)(**given)
                    answered = document(operation.name, value)
                except StokerError as problem:
                    answered = failure(problem, operation.name)
            assert printed == json.loads(json.dumps(answered)), command
        assert plugin_failures.kept(self.name) == ()

    def test_a_setting_that_is_not_known_is_refused(self, plugin_place: Path) -> None:
        """And the sentence names it."""
        one = self._one()
        config = Config(plugins={self.name: Plugin(settings={_NO_KEY: 1})})
        try:
            plugin_settings.of_file(config, self.name, one.settings)
        except ConfigError as problem:
            assert _NO_KEY in problem.message or one.settings is None, problem.message  # noqa: PT017
        else:
            raise AssertionError(f"the settings of {self.name} take a key that nobody knows")

    def test_it_starts_listens_and_stops(self, plugin_place: Path) -> None:
        """Each in its time, without raising, whatever kind of event there is; and starts a second time."""
        one, session = self._one(), Session()
        try:
            for _ in range(2):
                lasting = Lasting(session)
                assert not [problem for problem in lasting.start() if f" {self.name} " in problem.message]
                for seq, kind in enumerate(_KINDS, 1):
                    event = Event("stoker.event/1", seq, 0.0, kind, "a-job", 1, "a-node", {})
                    failed = lasting.hand(one, event)
                    assert failed is None, failed
                assert not [problem for problem in lasting.stop() if f" {self.name} " in problem.message]
        finally:
            session.close()

    def _one(self) -> Installed:
        found = plugin_loading.load(Config()).installed
        assert self.name in found, f"no installed package has an entry point {self.name!r} of stoker.plugins"
        return found[self.name]
