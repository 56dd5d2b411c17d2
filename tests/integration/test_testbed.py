# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The test bed does what the other tests take for granted."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from testbed import Bed, FakeGpus, IsolatedNode, MissingError, PlainNode, SystemdNode, find_python, wait_until
from testbed.leftovers import clear_leftovers

Nodes = Callable[..., list[PlainNode]]

LEAVE_BEHIND = """
import os, sys
sys.path.insert(0, sys.argv[1])
from testbed import Bed, PlainNode
bed = Bed()
node = PlainNode(bed, "n1")
node.start()
node.ssh("nohup sleep 600 >/dev/null 2>&1 &")
print(bed.folder, flush=True)
os._exit(1)
"""

CLEAR = "import sys; sys.path.insert(0, sys.argv[1]); from testbed.leftovers import clear_leftovers; clear_leftovers()"


def pid_1_start(node: IsolatedNode | SystemdNode) -> int:
    return int(node.ssh("cat /proc/1/stat").stdout.rpartition(")")[2].split()[19])


def boot_id(node: IsolatedNode | SystemdNode) -> str:
    return node.ssh("cat /proc/sys/kernel/random/boot_id").stdout.strip()


def test_plain_nodes_answer_ssh_each_from_its_own_home(nodes: Nodes) -> None:
    four = nodes(4)

    seen = [node.ssh('echo "$HOME $PWD"').stdout.strip() for node in four]

    assert seen == [f"{node.home} {node.home}" for node in four]
    assert len(set(seen)) == 4


def test_host_key_mismatch_is_refused(nodes: Nodes) -> None:
    one, other = nodes(2)
    one.known_hosts.write_text(one.known_hosts.read_text().rsplit(" ", 1)[0] + " " + key_of(other) + "\n")

    done = one.ssh("true")

    assert done.returncode == 255
    assert "Host key verification failed" in done.stderr


def key_of(node: PlainNode) -> str:
    return node.known_hosts.read_text().split()[2]


def test_other_keys_are_refused(node: PlainNode) -> None:
    (node.folder / "authorized_keys").write_text("")

    done = node.ssh("true")

    assert done.returncode == 255
    assert "Permission denied (publickey)" in done.stderr


def test_cut_ends_the_connection_and_not_the_job(node: PlainNode) -> None:
    node.ssh("nohup sleep 600 >/dev/null 2>&1 &")
    client = subprocess.Popen([*node.ssh_command(), "sleep 601"], stderr=subprocess.DEVNULL)
    wait_until(lambda: len(node.processes()) == 2, "both sleeps", 180)

    assert node.cut() == 1

    assert client.wait(5) == 255
    assert "600" in {process.argv[-1] for process in node.processes()}
    assert node.ssh("true").returncode == 0
    assert node.authentications() == 3


def test_down_is_unreachable_and_start_brings_the_same_node_back(node: PlainNode) -> None:
    node.ssh("nohup sleep 600 >/dev/null 2>&1 &")

    node.down()

    assert "Connection refused" in node.ssh("true").stderr
    node.start()
    assert node.ssh("echo back").stdout == "back\n"
    assert [process.name for process in node.processes()] == ["sleep"]


def test_stop_leaves_no_process(node: PlainNode) -> None:
    node.ssh("cd /; nohup setsid sleep 600 >/dev/null 2>&1 &")
    node.ssh("env -i setsid sh -c 'while :; do sleep 0.1; done' >/dev/null 2>&1 &")
    begun = node.processes()
    assert len(begun) >= 2

    node.stop()

    assert [process for process in begun if process.alive()] == []


def test_ansible_reaches_all_nodes_of_the_inventory(nodes: Nodes, inventory: Callable[..., Path]) -> None:
    path = inventory(nodes(2), groups={"pair": ["n1", "n2"]})
    argv = [str(Path(sys.executable).with_name("ansible")), "pair", "-i", str(path), "-m", "ping"]

    done = subprocess.run(argv, capture_output=True, text=True, timeout=180, stdin=subprocess.DEVNULL)

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count('"ping": "pong"') == 2


def test_python_3_8_can_be_chosen(nodes: Nodes) -> None:
    (old,) = nodes(1, python=find_python("3.8"))

    assert old.ssh(f"{old.inventory_entry()['ansible_python_interpreter']} --version").stdout.startswith("Python 3.8.")


def test_leftovers_of_a_killed_run_are_cleared() -> None:
    script = [sys.executable, "-c", LEAVE_BEHIND, str(Path(__file__).parents[1])]
    done = subprocess.run(script, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL)
    folder = Path(done.stdout.strip())
    assert folder.is_dir(), done.stderr

    assert folder in clear_leftovers()

    assert not folder.exists()
    sleeps = [path for path in Path("/proc").glob("[0-9]*/environ") if names(path, folder)]
    assert sleeps == []


def test_several_clear_the_same_leftovers() -> None:
    tests = str(Path(__file__).parents[1])
    leave = [sys.executable, "-c", LEAVE_BEHIND, tests]
    folder = Path(subprocess.run(leave, capture_output=True, text=True, timeout=120, check=False).stdout.strip())
    for number in range(5000):
        (folder / f"deep{number}").mkdir()

    runs = [subprocess.Popen([sys.executable, "-c", CLEAR, tests], stderr=subprocess.PIPE, text=True) for _ in range(4)]

    said = [run.communicate(timeout=180)[1] for run in runs]
    assert [run.returncode for run in runs] == [0] * 4, said
    assert not folder.exists()


def names(environ: Path, folder: Path) -> bool:
    try:
        return os.fsencode(folder) in environ.read_bytes()
    except OSError:
        return False


@pytest.mark.parametrize(
    ("question", "code", "answer"),
    [
        ("--query-gpu=index,colour --format=csv", 2, 'Field "colour" is not a valid field to query.'),
        ("--query-compute-apps=pid,colour --format=csv", 2, 'Field "colour" is not a valid field to query.'),
        ("--query-gpu=index --format=xml", 2, "not a valid format"),
        ("--query-gpu=index", 2, "--format="),
        ("--colour", 2, "Option --colour is not recognized"),
        ("-L --version", 2, "Invalid combination of input arguments"),
        (
            "--query-gpu=index,memory.total,power.draw --format=csv,noheader,nounits",
            0,
            "0, 81559, 71.50\n1, 81559, 71.50\n",
        ),
        ("--query-gpu=index,memory.total --format=csv", 0, "index, memory.total [MiB]\n0, 81559 MiB\n1, 81559 MiB\n"),
        ("-i 1 --query-gpu=index --format=csv,noheader", 0, "1\n"),
        ("-i 7 -L", 6, "No devices were found"),
    ],
)
def test_nvidia_smi_is_strict(gpu_node: PlainNode, question: str, code: int, answer: str) -> None:
    done = gpu_node.ssh(f"nvidia-smi {question}")

    assert done.returncode == code, done
    assert answer in done.stdout


def test_nvidia_smi_fails_as_the_real_one(gpu_node: PlainNode) -> None:
    assert gpu_node.gpus is not None
    codes = {}
    for mode in ("no_devices", "lost", "unknown_error", "mismatch", "no_driver", "ok"):
        gpu_node.gpus.mode(mode)  # type: ignore[arg-type]
        done = gpu_node.ssh("nvidia-smi -L")
        codes[mode] = (done.returncode, done.stdout.splitlines()[0][:30])

    assert codes == {
        "no_devices": (6, "No devices were found"),
        "lost": (15, "Unable to determine the device"),
        "unknown_error": (255, "Unable to determine the device"),
        "mismatch": (18, "Failed to initialize NVML: Dri"),
        "no_driver": (9, "NVIDIA-SMI has failed because "),
        "ok": (0, codes["ok"][1]),
    }


def test_nvidia_smi_hangs_through_polite_signals(gpu_node: PlainNode) -> None:
    assert gpu_node.gpus is not None
    gpu_node.gpus.mode("hang")

    done = gpu_node.ssh("timeout --kill-after=0.3 0.3 nvidia-smi; echo $?")

    assert done.stdout == "137\n"  # SIGTERM was not enough


def test_nvidia_smi_shows_processes_while_they_live(gpu_node: PlainNode) -> None:
    assert gpu_node.gpus is not None
    question = "nvidia-smi --query-compute-apps=gpu_uuid,pid,used_memory --format=csv,noheader,nounits"
    with subprocess.Popen(["sleep", "600"]) as sleep:
        gpu_node.gpus.add_process(1, sleep.pid, 4096)
        during = gpu_node.ssh(question).stdout
        used = gpu_node.ssh("nvidia-smi --query-gpu=memory.used --format=csv,noheader,nounits").stdout
        sleep.kill()

    assert during == f"{gpu_node.gpus.uuids[1]}, {sleep.pid}, 4096\n"
    assert used == "4\n4100\n"
    assert gpu_node.ssh(question).stdout == ""


def test_gb10_does_not_tell_its_memory(nodes: Nodes) -> None:
    (spark,) = nodes(1, gpus=FakeGpus.gb10())

    done = spark.ssh(
        "nvidia-smi --query-gpu=name,memory.total,memory.used,memory.free,utilization.gpu --format=csv,noheader"
    )

    assert done.stdout == "NVIDIA GB10, [N/A], [N/A], [N/A], 0 %\n"


@pytest.mark.root
def test_isolated_node_reboots_for_real(isolated_nodes: Callable[..., list[IsolatedNode]]) -> None:
    (node,) = isolated_nodes(1)
    node.ssh("touch mark; nohup sleep 600 >/dev/null 2>&1 &")
    before = pid_1_start(node), boot_id(node)
    assert "sleep" in {process.name for process in node.processes()}

    node.reboot()

    assert pid_1_start(node) > before[0]
    assert boot_id(node) != before[1]
    assert "sleep" not in {process.name for process in node.processes()}
    assert node.ssh("ls").stdout == "mark\n"


@pytest.mark.root
def test_isolated_node_may_share_the_kernels_boot_id(isolated_nodes: Callable[..., list[IsolatedNode]]) -> None:
    (node,) = isolated_nodes(1, own_boot_id=False)

    assert boot_id(node) == Path("/proc/sys/kernel/random/boot_id").read_text().strip()


@pytest.mark.root
def test_partition_loses_packets_until_healed(isolated_nodes: Callable[..., list[IsolatedNode]]) -> None:
    one, other = isolated_nodes(2)

    one.partition()

    argv = [*one.ssh_command("-o", "ConnectTimeout=1"), "true"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL)
    assert "timed out" in done.stderr
    assert other.ssh("echo here").stdout == "here\n"
    one.heal()
    assert one.ssh("echo back").stdout == "back\n"


@pytest.mark.root
def test_systemd_node_runs_systemd(systemd_node: SystemdNode) -> None:
    done = systemd_node.ssh("cat /proc/1/comm; systemctl is-system-running; nvidia-smi -L | wc -l")

    assert done.stdout.split() == ["systemd", "running", "2"]


@pytest.mark.root
def test_systemd_user_lingers(systemd_user_node: SystemdNode) -> None:
    done = systemd_user_node.ssh("id -un; loginctl show-user stoker -p Linger; systemctl --user is-system-running")

    assert done.stdout.split() == ["stoker", "Linger=yes", "running"]


@pytest.mark.root
@pytest.mark.slow
def test_systemd_node_reboots_and_crashes(systemd_node: SystemdNode) -> None:
    systemd_node.ssh("systemd-run --unit=sleeper sleep 600")
    starts = [pid_1_start(systemd_node)]

    systemd_node.reboot()
    starts.append(pid_1_start(systemd_node))
    systemd_node.crash()
    assert systemd_node.processes() == []
    systemd_node.start()
    starts.append(pid_1_start(systemd_node))

    assert starts == sorted(set(starts))
    assert systemd_node.ssh("systemctl is-active sleeper").stdout == "inactive\n"


def test_postgres_gives_empty_databases(postgres_url: str) -> None:
    sqlalchemy = pytest.importorskip("sqlalchemy")
    engine = sqlalchemy.create_engine(postgres_url)
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("CREATE TABLE mark (id integer)"))
        tables = connection.execute(sqlalchemy.text("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"))
        assert tables.scalar() == 1
    engine.dispose()


def test_runs_keep_out_of_the_users_folders(bed: Bed) -> None:
    for name in ("STOKER_STATE_HOME", "XDG_RUNTIME_DIR", "ANSIBLE_HOME"):
        assert os.environ[name].startswith(f"{bed.folder}/")


def test_missing_python_is_said_in_one_line() -> None:
    with pytest.raises(MissingError, match=r"no Python 3\.1 on this machine"):
        find_python("3.1")
