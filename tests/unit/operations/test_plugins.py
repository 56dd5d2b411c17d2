# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plugins of packages that are really installed: what they add, how they fail, and what that leaves alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from testbed.assistant import Wire
from testbed.plugin_packages import ROOT, install, install_example

ANSWERS = '''
    @operation("{name}", "read", method="say")
    def say(session) -> Said:
        """Say something."""
        return Said("{name} is well")

    class Plugin:
        """Says something."""

        @hookimpl
        def stoker_operations(self):
            return [say]
'''
BROKEN = {
    "atimport": ("raise RuntimeError('no driver here')\nclass Plugin:\n    pass", "RuntimeError: no driver here"),
    "exits": ("raise SystemExit(3)\nclass Plugin:\n    pass", "SystemExit: 3"),
    "atmaking": ("class Plugin:\n    def __init__(self):\n        raise KeyError('token')", "KeyError: 'token'"),
    "nohook": ("class Plugin:\n    @hookimpl\n    def stoker_begin(self):\n        pass", "stoker_begin"),
    "wronghook": ("class Plugin:\n    @hookimpl\n    def stoker_start(self, now):\n        pass", "now"),
    "queue": (ANSWERS.format(name="other"), "two plugins queue"),
    "stats": (ANSWERS.format(name="stats"), "the command 'stats' of stats cannot be: stats is Stoker's own"),
    "zlast": (ANSWERS.format(name="well"), "the command 'well' of zlast cannot be: well is the plugin well's"),
    "untold": (ANSWERS.format(name="untold").replace('"""Say something."""', ""), "no docstring"),
    "odd": (ANSWERS.format(name="odd").replace("session)", "session, what: set)"), "what has a type"),
    "king": (ANSWERS.format(name="king").replace('"read"', '"rule"'), "there is no policy 'rule'"),
    "far": (
        ANSWERS.format(name="far")
        + '\n        @hookimpl\n        def stoker_resources(self):\n'
        "            return [Resource('stoker://jobs', 'far', 'x')]\n",
        "has to begin with stoker://far",
    ),
}  # fmt: skip


class Said(NamedTuple):
    code: int
    out: str
    err: str

    def value(self) -> Any:
        return json.loads(self.out)["value"]


class Place:
    """A folder to stand in, and one of packages."""

    def __init__(self, folder: Path, site: Path) -> None:
        self.folder, self.site = folder, site
        (folder / "here").mkdir()
        self.env = {
            **os.environ, "PYTHONPATH": str(site), "STOKER_STATE_HOME": str(folder / "state"),
            "STOKER_STORE_URL": f"sqlite:///{folder}/store.db",
        }  # fmt: skip

    def write(self, name: str, text: str) -> None:
        (self.folder / "here" / name).write_text(text)

    def python(self, script: str) -> Said:
        return self._run("-c", script)

    def __call__(self, *argv: str) -> Said:
        return self._run("-m", "stoker", *argv)

    def _run(self, *argv: str) -> Said:
        done = subprocess.run(
            [sys.executable, *argv], cwd=self.folder / "here", env=self.env, capture_output=True, text=True,
            timeout=120, check=False,
        )  # fmt: skip
        return Said(done.returncode, done.stdout, done.stderr)

    def plugins(self) -> dict[str, Any]:
        return {one["name"]: one for one in self("plugins", "--json").value()["plugins"]}


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    site = tmp_path_factory.mktemp("example") / "site"
    install_example(site)
    return site


@pytest.fixture
def energy(example: Path, tmp_path: Path) -> Place:
    return Place(tmp_path, example)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path, tmp_path / "site")


@pytest.mark.accepts("C32")
def test_a_package_adds_a_plugin_that_is_asked_everywhere(energy: Place) -> None:
    assert "energy" in energy("--help").out
    assert "--limit" in energy("energy", "--help").out
    (listed,) = [one for one in energy.plugins().values() if one["package"] is not None]
    assert (listed["name"], listed["state"], listed["package"]) == ("energy", "on", "stoker-energy")
    assert listed["operations"] == ["energy"]
    assert listed["resources"] == ["stoker://energy"]
    assert listed["backends"] == ["polite"]
    assert listed["listens"]
    energy.write("inventory.yml", "all: {hosts: {n1: {ansible_connection: local}}}")
    assert energy("queue", "add", "--name", "one", "--", "true").code == 0
    typed = energy("energy", "--json")
    script = (
        "import json; from stoker import Fleet; from stoker.cli.format import plain;"
        "from stoker.mcp import command; from stoker.mcp.perform import perform;"
        "from stoker.config import load; from stoker.operations import plugin_loading;"
        "print(json.dumps(plain(Fleet().energy.report())));"
        "asked = dict(operation='energy', arguments={}, who='a', role='read', via='stdio');"
        "print(json.dumps(perform(asked, print)['structured']['value']))"
    )
    by_api, by_assistant = (json.loads(line) for line in energy.python(script).out.splitlines())
    assert typed.value() == by_api == by_assistant
    assert by_api["jobs"][0]["why"] == "it has not started"
    assert "currency: EUR" in energy("energy").out


def contract(place: Place) -> Said:
    """The suite for authors, over the example."""
    tests = str(ROOT / "docs/examples/plugin/tests")
    nothing = ("-p", "no:cacheprovider", "--rootdir", str(place.folder), "-c", os.devnull)
    return place._run("-m", "pytest", "-q", *nothing, tests)


@pytest.mark.accepts("C32")
def test_authors_have_a_suite_of_tests_that_finds_what_is_wrong(energy: Place, tmp_path: Path) -> None:
    good = contract(energy)
    assert good.code == 0, good.out
    assert "5 passed" in good.out
    site = tmp_path / "site"
    subprocess.run(["cp", "-r", str(energy.site), str(site)], check=True, timeout=180)
    module = site / "stoker_energy/__init__.py"
    text = module.read_text()
    for before, after in (
        ("        limit: At most this many jobs.\n", ""),
        ("    if limit < 1:", "    if limit < 1:\n        raise ValueError\n    if limit < 1:"),
        ('if event.type.startswith("job."):', 'if event.data["no"]:'),
    ):
        assert before in text
        text = text.replace(before, after)
    module.write_text(text)
    energy.env["PYTHONPATH"] = str(site)
    bad = contract(energy)
    assert "3 failed, 2 passed" in bad.out
    for name in ("test_each_operation_is", "test_calls_answer", "test_it_starts_listens_and_stops"):
        assert f"::{name}" in bad.out


@pytest.mark.accepts("C33")
def test_a_broken_plugin_is_listed_with_its_reason_and_the_others_go_on(place: Place) -> None:
    install(place.site, "well", ANSWERS.format(name="well"))
    for name, (body, _why) in BROKEN.items():
        install(place.site, name, body, package=f"pack-{name}")
    install(place.site, "twice", ANSWERS.format(name="twice"), package="first")
    install(place.site, "twice", ANSWERS.format(name="twice"), package="second")
    listed = {one["name"]: one for one in place("plugins", "--json").value()["plugins"] if one["package"]}
    for name, (_body, why) in BROKEN.items():
        assert listed[name]["state"] == "failed", name
        assert why in listed[name]["reason"], name
        assert listed[name]["operations"] == []
    assert "of first and of second" in listed["twice"]["reason"]
    assert listed["well"]["state"] == "on"
    assert place("well").out == "text: well is well\n"
    assert place("jobs").code == 0
    assert place("stats", "--json").value() is not None
    refused = place("atimport")
    assert refused.code == 1
    assert "the plugin atimport (pack-atimport) failed: RuntimeError: no driver here (next: stoker" in refused.err
    assert place("plugins").code == 0
    assert place("plugins", "--strict").code == 1
    said = place.python("from stoker import Fleet; print(Fleet().well.say().text); Fleet().atimport")
    assert said.out == "well is well\n"
    assert "PluginError: the plugin atimport (pack-atimport) failed" in said.err


@pytest.mark.accepts("C33")
def test_an_operation_that_raises_is_the_plugin_s_failure_until_it_goes_well(place: Place) -> None:
    install(place.site, "flaky", '''
        @operation("flaky do", "operate", method="do")
        def do(session, *, how: str = "well") -> Said:
            """Do it.

            Args:
                how: well, badly, or otherwise.
            """
            print("printed by the plugin")
            os.write(1, b"written by the plugin\\n")
            os.system("echo said by a child")
            if how == "badly":
                raise ZeroDivisionError("\\x1b[31mby zero\\nsecond line")
            if how == "silently":
                return 7
            return Said(how)

        class Plugin:
            """Does things."""
            @hookimpl
            def stoker_operations(self):
                return [do]
    ''')  # fmt: skip
    good = place("flaky", "do", "--json")
    assert good.value() == {"text": "well"}
    assert all(text in good.err for text in ("printed by the plugin", "written by the plugin", "said by a child"))
    bad = place("flaky", "do", "--how", "badly")
    assert bad.code == 1
    assert "the plugin flaky (stoker-flaky 0.1) failed in flaky do: ZeroDivisionError:" in bad.err
    assert "\x1b" not in bad.err
    assert "Traceback" not in bad.err
    assert len(bad.err.splitlines()) == 4  # with what it printed
    listed = place.plugins()["flaky"]
    assert listed["state"] == "failed"
    assert listed["reason"].startswith("in flaky-do: ZeroDivisionError: ")
    assert listed["failed_at"] > 0
    assert listed["operations"] == ["flaky do"]
    assert "it answered with int, which is no dataclass" in place("flaky", "do", "--how", "silently").err
    assert "Does things." in place("--help").out
    assert place("flaky", "do").code == 0
    assert place.plugins()["flaky"]["state"] == "on"


@pytest.mark.accepts("C34")
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("plugins:\n  energy:\n    settings:\n      price_per_kw: 1\n",
         "stoker.yml:4: plugins.energy.settings.price_per_kw: there is no such setting. Did you mean 'price_per_kwh'?"),
        ("plugins:\n  energy:\n    settings: {price_per_kwh: -1}\n",
         "stoker.yml:3: plugins.energy.settings.price_per_kwh: input should be greater than or equal to 0"),
    ],
)  # fmt: skip
def test_wrong_settings_of_a_plugin_are_its_failure_by_file_line_and_key(energy: Place, text: str, said: str) -> None:
    energy.write("stoker.yml", text)
    assert energy.plugins()["energy"]["reason"] == said
    assert said in energy("energy").err
    assert energy("jobs").code == 0


@pytest.mark.accepts("C34")
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("plugins:\n  energie: {}\n",
         "stoker.yml:2: plugins.energie: there is no plugin of this name. Did you mean 'energy'?"),
        ("plugins:\n  qeue: {enabled: false}\n",
         "stoker.yml:2: plugins.qeue: there is no plugin of this name. Did you mean 'queue'?"),
        ("plugins:\n  energy:\n    enable: false\n",
         "stoker.yml:3: plugins.energy.enable: there is no such setting. Did you mean 'enabled'?"),
        ("plugins:\n  plugins: {enabled: false}\n", "stoker.yml:2: plugins.plugins: this one cannot be off"),
    ],
)  # fmt: skip
def test_what_stoker_yml_says_of_no_plugin_stops_every_command(energy: Place, text: str, said: str) -> None:
    energy.write("stoker.yml", text)
    refused = energy("jobs")
    assert refused.code == 2
    assert said in refused.err


@pytest.mark.accepts("C34")
def test_a_plugin_that_is_off_is_not_even_imported(place: Place) -> None:
    install(
        place.site, "trace", "open('imported', 'w').close()\n" + ANSWERS.format(name="trace").replace("\n    ", "\n")
    )
    place.write("stoker.yml", "plugins:\n  trace: {enabled: false}\n")
    assert place.plugins()["trace"]["state"] == "off"
    refused = place("trace")
    assert refused.code == 1
    assert "the plugin trace is off (stoker.yml:2: plugins.trace.enabled)" in refused.err
    assert "trace" not in place("--help").out
    assert "PluginError: the plugin trace is off" in place.python("from stoker import Fleet; Fleet().trace").err
    assert not (place.folder / "here/imported").exists()
    place.write("stoker.yml", "plugins:\n  trace: {enabled: true}\n")
    assert place("trace").code == 0
    assert (place.folder / "here/imported").exists()


@pytest.mark.accepts("C34")
def test_host_and_group_variables_say_it_per_node(energy: Place) -> None:
    own = {
        "n4": "settings: {watts_per_gpu: 700}",
        "n5": "settings: {watts: 1}",
        "n6": "enable: 1",
        "n2": "enabled: true",
    }
    energy.write("inventory.yml", (
        "all:\n  vars: {ansible_connection: local}\n  children:\n    lab: {hosts: {n1: {}, n2: {}, n3: {}}}\n"
        "    own: {hosts: {n4: {}, n5: {}, n6: {}, n7: {stoker_plugins: {energie: {}}}, n8: {}}}\n"
    ))  # fmt: skip
    for folder in ("group_vars", "host_vars"):
        (energy.folder / "here" / folder).mkdir()
    energy.write("group_vars/lab.yml", "stoker_plugins: {energy: {enabled: false}}\n")
    for node, said in own.items():
        energy.write(f"host_vars/{node}.yml", f"stoker_plugins: {{energy: {{{said}}}}}\n")
    told = {node: energy("energy", "--node", node) for node in ("n1", "n2", "n4", "n5", "n6", "n7", "n8")}
    assert [told[node].code for node in ("n2", "n4", "n8")] == [0, 0, 0]
    assert "the plugin energy is off on n1 (stoker_plugins)" in told["n1"].err
    assert (
        "n5: stoker_plugins.energy.settings.watts: there is no such setting. Known here: watts_per_gpu"
        in told["n5"].err
    )
    assert "n6: stoker_plugins.energy.enable: there is no such setting" in told["n6"].err
    assert "n7: stoker_plugins.energie: there is no plugin of this name. Did you mean 'energy'?" in told["n7"].err
    script = (
        "from stoker.operations.session import Session; from stoker.operations import plugin_loading as p;"
        "s = Session(); p.load(s.config); print(p.node_settings_of(s, 'energy', '{}').watts_per_gpu)"
    )
    assert energy.python(script.format("n4")).out == "700.0\n"
    assert energy.python(script.format("n2")).out == "300.0\n"
    assert "is off on n3" in energy.python(script.format("n3")).err


@pytest.mark.accepts("C34")
def test_off_on_a_node_holds_for_defaults_and_lists_and_typos_are_checked(place: Place) -> None:
    install(place.site, "many", '''
        from collections.abc import Sequence

        @operation("many", "read")
        def many(session, node: str = "n1", *, on: Sequence[str] = ()) -> Said:
            """Say.

            Args:
                node: A node.
                on: Nodes.
            """
            return Said("well")

        class Plugin:
            """Says."""
            @hookimpl
            def stoker_operations(self):
                return [many]
    ''')  # fmt: skip
    off = "{stoker_plugins: {many: {enabled: false}}}"
    hosts = f"all: {{vars: {{ansible_connection: local}}, hosts: {{n1: {off}, n2: {{}}, n3: {off}}}}}\n"
    place.write("inventory.yml", hosts)
    place.write("stoker.yml", "inventory: inventory.yml\n")
    assert "is off on n1" in place("many").err
    assert "is off on n3" in place("many", "n2", "--on", "n2", "--on", "n3").err
    assert place("many", "n2", "--on", "n2").code == 0
    assert place("config", "check").code == 0
    place.write("inventory.yml", hosts.replace("n3: {stoker_plugins: {many", "n3: {stoker_plugins: {mony"))
    checked = place("config", "check")
    assert checked.code == 2
    assert "n3: stoker_plugins.mony: there is no plugin of this name. Did you mean 'many'?" in checked.err


@pytest.mark.accepts("C33")
def test_two_plugins_of_one_package_with_a_backend_are_both_there(place: Place) -> None:
    install(place.site, "alpha", ANSWERS.format(name="alpha"))
    info = place.site / "stoker_alpha-0.1.dist-info/entry_points.txt"
    second = ANSWERS.format(name="beta").replace("class Plugin", "class Other").replace("say", "tell")
    with (place.site / "stoker_alpha.py").open("a") as module:
        module.write(textwrap.dedent(second))
    more = "beta = stoker_alpha:Other\n\n[stoker.backends]\npolite = stoker_alpha:Plugin\n"
    info.write_text(info.read_text() + more)
    listed = place.plugins()
    assert {name: listed[name]["state"] for name in ("alpha", "beta")} == {"alpha": "on", "beta": "on"}, listed


@pytest.mark.accepts("C33")
def test_what_a_plugin_prints_at_any_time_is_no_part_of_the_protocol(place: Place) -> None:
    install(place.site, "chatty", '''
        import threading

        def chat(begun):
            for _ in range(2000):
                print("chat", flush=True)
                begun.set()
                time.sleep(0.002)

        class Plugin:
            """Talks."""
            @hookimpl
            def stoker_start(self, context):
                begun = threading.Event()
                threading.Thread(target=chat, args=(begun,), daemon=True).start()
                begun.wait()
    ''')  # fmt: skip
    wire = Wire(place.env, place.folder / "here")
    try:
        wire.initialize()  # each line has to be a message
        assert b"chat" in wire.errors
    finally:
        wire.close()


def test_a_command_of_stoker_s_own_looks_for_no_plugin(place: Place) -> None:
    install(place.site, "loud", "print('imported')\nraise SystemExit(4)\nclass Plugin:\n    pass")
    said = place.python(
        "import sys; from stoker.cli.main import main; code = main(['jobs']); "
        "print(code, [m for m in sys.modules if m in ('pluggy', 'stoker_loud')])"
    )
    assert said.out.splitlines()[-1] == "0 []", said
