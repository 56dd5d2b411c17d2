# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a container is made of, as Docker tells it (Podman's own words are tested with a real one)."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from ansible_collections.stoker.fleet.plugins.module_utils import container_definition as definitions
from ansible_collections.stoker.fleet.plugins.module_utils.statedir import NodeError

IMAGE = {
    "Id": "sha256:aa",
    "Config": {
        "Env": ["PATH=/opt/bin:/bin", "CUDA_VERSION=12.8"], "Cmd": ["bash"], "WorkingDir": "/workspace",
        "Entrypoint": ["/opt/nvidia/nvidia_entrypoint.sh"], "User": "", "Labels": {"maker": "nvidia"},
    },
}  # fmt: skip
# What becomes of `docker run -d --gpus all --ipc=host --ulimit memlock=-1 -p ... -v /srv:/work:ro -e A=b ...`.
TOLD: dict[str, Any] = {
    "Id": "4f1c8d2b7a90ffff", "Name": "/pytorch", "Image": "sha256:aa", "State": {"Status": "running"},
    "Config": {
        "Hostname": "4f1c8d2b7a90", "User": "", "Env": ["A=b", "PATH=/opt/bin:/bin", "CUDA_VERSION=12.8"],
        "Cmd": ["sleep", "infinity"], "Image": "nvcr.io/nvidia/pytorch:25.03-py3", "WorkingDir": "/workspace",
        "Entrypoint": ["/opt/nvidia/nvidia_entrypoint.sh"], "Labels": {"maker": "nvidia"},
    },
    "HostConfig": {
        "NetworkMode": "bridge", "PortBindings": {"8888/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8888"}]},
        "RestartPolicy": {"Name": "unless-stopped", "MaximumRetryCount": 0}, "AutoRemove": False, "VolumesFrom": None,
        "CapAdd": None, "CapDrop": None, "Dns": [], "ExtraHosts": None, "IpcMode": "host", "PidMode": "",
        "Privileged": False, "SecurityOpt": ["label=disable"], "ShmSize": 67108864, "Runtime": "runc", "NanoCpus": 0,
        "Memory": 0, "Devices": [], "Ulimits": [{"Name": "memlock", "Hard": -1, "Soft": -1}],
        "DeviceRequests": [{"Driver": "", "Count": -1, "DeviceIDs": None, "Capabilities": [["gpu"]], "Options": {}}],
    },
    "Mounts": [
        {"Type": "bind", "Source": "/srv", "Destination": "/work", "Mode": "ro", "RW": False, "Propagation": "rprivate"}
    ],
    "NetworkSettings": {"Networks": {"bridge": {}}},
}  # fmt: skip


def told(**host: Any) -> dict[str, Any]:
    changed = copy.deepcopy(TOLD)
    changed["HostConfig"].update(host)
    return changed


@pytest.mark.accepts("D36")
def test_what_docker_tells_makes_the_same_container_again() -> None:
    have = definitions.actual("docker", TOLD, IMAGE)
    words = definitions.create_words("docker", "pytorch", dict(have, image="new:1"), ["--env-file", "F"])
    assert words[:5] == ["create", "--name", "pytorch", "--env-file", "F"]
    for flag, value in (
        ("--gpus", "all"), ("--ipc", "host"), ("--ulimit", "memlock=-1:-1"), ("--publish", "127.0.0.1:8888:8888/tcp"),
        ("--mount", "type=bind,source=/srv,target=/work,ro"), ("--restart", "unless-stopped"),
    ):  # fmt: skip
        assert words[words.index(flag) + 1] == value
    assert words[-3:] == ["new:1", "sleep", "infinity"]
    # What the image brings is left to the new one.
    assert not {"--workdir", "--entrypoint", "--user", "--hostname", "--network", "--shm-size"} & set(words)
    assert have["env"] == {"A": "b"}
    assert definitions.not_carried("docker", TOLD) == []


@pytest.mark.accepts("D36")
@pytest.mark.parametrize(
    ("host", "lost"),
    [
        ({"AutoRemove": True}, ["AutoRemove"]),
        ({"SecurityOpt": ["label=disable", "seccomp=unconfined"]}, ["SecurityOpt"]),
        ({"SecurityOpt": ["label=disable"], "IpcMode": "private"}, ["SecurityOpt"]),
        ({"CapDrop": ["CAP_CHOWN"], "ExtraHosts": ["a:1.2.3.4"]}, ["ExtraHosts", "CapDrop"]),
        ({"NetworkMode": "container:abc"}, ["NetworkMode"]),
        (
            {"DeviceRequests": [{"Count": 2, "DeviceIDs": None, "Capabilities": [["gpu"]]}]},
            ["a number of GPUs instead of their names"],
        ),
    ],
)
def test_what_cannot_be_carried_over_is_named(host: dict[str, Any], lost: list[str]) -> None:
    assert definitions.not_carried("docker", told(**host)) == lost


@pytest.mark.accepts("D35")
def test_gpus_by_their_names() -> None:
    want = definitions.wanted({"image": "i", "gpus": "GPU-b, GPU-a"})
    words = definitions.create_words("docker", "x", want, [])
    assert words[words.index("--gpus") + 1] == '"device=GPU-a,GPU-b"'
    podman = definitions.create_words("podman", "x", want, [])
    assert [word for word in podman if "nvidia" in word] == ["nvidia.com/gpu=GPU-a", "nvidia.com/gpu=GPU-b"]
    have = definitions.actual("docker", TOLD, IMAGE)
    (drift,) = definitions.drift({"gpus": want["gpus"]}, have, same_image=True)
    assert drift == {"field": "gpus", "wanted": "GPU-a, GPU-b", "actual": "all"}


def test_only_what_is_named_is_compared_and_no_value_of_a_secret_is_told() -> None:
    have = definitions.actual("docker", TOLD, IMAGE)
    want = definitions.wanted({"ports": ["127.0.0.1:8888:8888"], "mounts": ["/srv:/work:ro"], "workdir": "/workspace"})
    assert definitions.drift(want, have, same_image=True) == []
    assert definitions.drift({"env": {"A": "b", "CUDA_VERSION": "12.8"}}, have, same_image=True) == []
    (drift,) = definitions.drift({"env": {"A": "hidden"}}, have, same_image=True, secret={"A"})
    assert drift == {"field": "env A", "wanted": "(secret)", "actual": "another value"}


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("mounts", ["/srv"], "mounts: '/srv' is not SOURCE:/TARGET or SOURCE:/TARGET:ro"),
        ("mounts", ["/srv:/a:rx"], "mounts: '/srv:/a:rx' ends with neither ro nor rw"),
        ("mounts", ["/a,b:/a"], "mounts: '/a,b:/a' is not SOURCE:/TARGET or SOURCE:/TARGET:ro"),
        ("ports", ["80"], "ports: '80' is not HOST:CONTAINER, or IP:HOST:CONTAINER"),
        ("gpus", "0;1", "gpus: '0;1' is not all, none, an index or a UUID"),
        ("restart", "maybe", "restart: 'maybe' is none of no, always, unless-stopped, on-failure, on-failure:N"),
    ],
)
def test_a_wish_that_cannot_be_read_is_one_sentence(field: str, value: Any, sentence: str) -> None:
    with pytest.raises(NodeError) as refused:
        definitions.wanted({field: value})
    assert refused.value.message == sentence
