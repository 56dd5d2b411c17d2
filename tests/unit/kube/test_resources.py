# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What pods ask of their node: the scheduler's own rules, as a table."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kubernetes.utils.quantity import parse_quantity

from stoker.kube.resources import amount, by_node, is_gpu, requests
from tests.contracts.kubernetes.objects import checked, container, pod

GPU = "nvidia.com/gpu"


@pytest.mark.accepts("C19")
@pytest.mark.parametrize(
    ("written", "number"),
    [
        ("8", 8), (8, 8), ("0", 0), ("500m", "0.5"), ("1500m", "1.5"), ("100n", "1e-7"), ("5u", "5e-6"), ("1k", 1000),
        ("2M", 2_000_000), ("3G", 3 * 10**9), ("1T", 10**12), ("1P", 10**15), ("1E", 10**18), ("1Ki", 1024),
        ("16Mi", 16 << 20), ("512Gi", 512 << 30), ("2Ti", 2 << 40), ("1Pi", 1 << 50), ("1Ei", 1 << 60), ("1e3", 1000),
        ("12E6", 12_000_000), ("1.5e-3", "0.0015"), ("0.5", "0.5"), (".5", "0.5"), ("5.", 5), ("+2", 2), ("-1", -1),
        ("528479232Ki", 528479232 << 10),
        ("", None), ("eight", None), ("8 Gi", None), ("1K", None), ("1mi", None), ("NaN", None), ("Infinity", None),
        ("1e999", None), ("9" * 99, None),
        ("1e99999", None), ("0x8", None), ("1_000", None), (None, None), (True, None), ([], None), ("٣", None),
    ],
)  # fmt: skip
def test_quantities(written: Any, number: Any) -> None:
    assert amount(written) == (None if number is None else Decimal(number))


@settings(deadline=None)
@given(st.integers(0, 2**63 - 1), st.sampled_from(["", "m", "Ki", "Mi", "Gi", "k", "M", "G"]))
def test_quantities_are_exact_and_as_the_official_client_reads_them(number: int, suffix: str) -> None:
    assert amount(f"{number}{suffix}") == parse_quantity(f"{number}{suffix}")


@pytest.mark.accepts("C19")
@pytest.mark.parametrize(
    ("name", "gpu"),
    [
        ("nvidia.com/gpu", True), ("amd.com/gpu", True), ("nvidia.com/mig-1g.10gb", True),
        ("nvidia.com/gpu.shared", True), ("nvidia.com/mig-3g.40gb.shared", True), ("gpu.intel.com/i915", True),
        ("gpu.intel.com/xe", True),
        ("habana.ai/gaudi", True), ("google.com/tpu", True), ("aws.amazon.com/neuron", True),
        ("cpu", False), ("memory", False), ("gpu", False), ("hugepages-2Mi", False), ("rdma/hca_shared", False),
        ("example.com/gpu-memory", False), ("ephemeral-storage", False), ("smarter-devices/fuse", False),
    ],
)  # fmt: skip
def test_which_resources_are_gpus(name: str, gpu: bool) -> None:
    assert is_gpu(name) is gpu


CASES: list[tuple[str, dict[str, Any], dict[str, str]]] = [
    ("the containers run together", {"main": [{"cpu": "1", GPU: "2"}, {"cpu": "500m", GPU: "1"}]},
     {"cpu": "1.5", GPU: "3"}),
    ("init containers run one after the other, before them",
     {"init": [{"cpu": "4"}, {"cpu": "2"}], "main": [{"cpu": "1"}]},
     {"cpu": "4"}),
    ("the most is of each resource", {"init": [{"cpu": "4", GPU: "1"}], "main": [{"cpu": "1", GPU: "2"}]},
     {"cpu": "4", GPU: "2"}),
    ("sidecars run beside the containers", {"init": [("Always", {"cpu": "1"})], "main": [{"cpu": "2"}]}, {"cpu": "3"}),
    ("an init container runs beside the sidecars before it",
     {"init": [("Always", {"cpu": "1"}), {"cpu": "4"}], "main": [{"cpu": "2"}]}, {"cpu": "5"}),
    ("and not beside those after it", {"init": [{"cpu": "4"}, ("Always", {"cpu": "1"})], "main": [{"cpu": "2"}]},
     {"cpu": "4"}),
    ("several of both", {"init": [("Always", {"cpu": "1"}), {"cpu": "2"}, ("Always", {"cpu": "2"}), {"cpu": "3"}],
                         "main": [{"cpu": "2"}]}, {"cpu": "6"}),
    ("overhead comes on top", {"main": [{"cpu": "1"}], "overhead": {"cpu": "250m", "memory": "120Mi"}},
     {"cpu": "1.25", "memory": str(120 << 20)}),
    ("what a pod asks as a whole counts in their place, for CPU and memory",
     {"main": [{"cpu": "1", GPU: "1"}], "resources": {"requests": {"cpu": "3"}}}, {"cpu": "3", GPU: "1"}),
    ("a pod that asks for nothing", {"main": [{}]}, {}),
]  # fmt: skip


@pytest.mark.accepts("C19")
@pytest.mark.parametrize(("_why", "spec", "asked"), CASES)
def test_what_a_pod_asks(_why: str, spec: dict[str, Any], asked: dict[str, str]) -> None:
    init = [
        container(f"i{number}", one[1], restartPolicy=one[0])
        if isinstance(one, tuple)
        else container(f"i{number}", one)
        for number, one in enumerate(spec.get("init", ()))
    ]
    main = [container(f"c{number}", one) for number, one in enumerate(spec["main"])]
    said = checked(pod("p", *main, init=init, on="n", overhead=spec.get("overhead"), resources=spec.get("resources")))
    assert requests(said) == ({**{name: Decimal(number) for name, number in asked.items()}, "pods": 1}, ())


@pytest.mark.accepts("C19")
def test_a_limit_alone_and_a_resize_that_goes_on() -> None:
    only_limits = pod("p", container("c", {}, limits={GPU: "2"}), on="n")
    assert requests(checked(only_limits))[0][GPU] == 2
    status = {"name": "main", "image": "i", "imageID": "", "restartCount": 0, "ready": True}
    given_more = {**status, "allocatedResources": {"cpu": "4"}, "resources": {"requests": {"cpu": "3"}}}
    shrinking = pod("p", container("main", {"cpu": "1"}), on="n", status={"containerStatuses": [given_more]})
    assert requests(checked(shrinking))[0]["cpu"] == 4


@pytest.mark.accepts("C19")
def test_only_pods_that_are_bound_and_not_over_hold_anything() -> None:
    one = {GPU: "1"}
    pods = [
        pod("runs", container("c", one), on="a"),
        pod("starts", container("c", one), on="a", phase="Pending"),
        pod("waits", container("c", one), phase="Pending"),
        pod("done", container("c", one), on="a", phase="Succeeded"),
        pod("broken", container("c", one), on="a", phase="Failed"),
        pod("lost", container("c", one), on="b", phase="Unknown"),
    ]
    ending = pod("ends", container("c", one), on="b")
    ending["metadata"] |= {"deletionTimestamp": "2026-01-01T00:00:00Z"}
    found = by_node([checked(said) for said in (*pods, ending)])
    assert {name: (asked[GPU], asked["pods"]) for name, (asked, _) in found.items()} == {"a": (2, 2), "b": (2, 2)}


def test_a_quantity_that_cannot_be_read_is_named_and_not_taken_for_nothing() -> None:
    odd = pod("p", container("c", {GPU: "many", "cpu": "1"}), on="n")
    assert requests(odd) == ({"cpu": Decimal(1), "pods": Decimal(1)}, (GPU,))
    # What is no pod of this world takes nobody else with it.
    assert by_node([odd, {"spec": None, "status": None}, {"spec": {"nodeName": "n", "containers": None}}])["n"][1] == (
        GPU,
    )
