# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which tag is newer, and what a name of an image means."""

from __future__ import annotations

import pytest

from stoker.images import reference, versions


@pytest.mark.accepts("D36")
@pytest.mark.parametrize(
    ("tag", "tags", "newer"),
    [
        ("25.03-py3", ["25.01-py3", "25.03-py3", "25.04-py3", "25.10-py3"], ["25.10-py3", "25.04-py3"]),
        ("2.9", ["2.10", "2.8"], ["2.10"]),
        ("25.03-py3", ["25.04-py3-igpu", "25.04", "25.04-py2", "latest", "25.04.1-py3"], []),
        ("25.12-py3", ["26.01-py3"], ["26.01-py3"]),
        ("v0.9.1", ["v0.10.0", "0.11.0", "v0.9.1rc1", "v0.9.0"], ["v0.10.0"]),
        ("1.9", ["1.10", "20240101"], ["1.10"]),
        ("1", ["2", "20240101"], ["2"]),
        ("latest", ["25.04-py3"], []),
    ],
)  # fmt: skip
def test_newer_is_a_higher_version_of_the_same_kind(tag: str, tags: list[str], newer: list[str]) -> None:
    assert versions.newer(tag, tags) == newer


@pytest.mark.parametrize(
    ("name", "registry", "repository", "tag"),
    [
        ("nvcr.io/nvidia/pytorch:25.03-py3", "nvcr.io", "nvidia/pytorch", "25.03-py3"),
        ("127.0.0.1:5000/a/b:1", "127.0.0.1:5000", "a/b", "1"),
        ("redis:7", "registry-1.docker.io", "library/redis", "7"),
        ("docker.io/vllm/vllm-openai:v0.9", "registry-1.docker.io", "vllm/vllm-openai", "v0.9"),
        ("nvcr.io/nvidia/pytorch", "nvcr.io", "nvidia/pytorch", None),
        ("nvcr.io/nvidia/pytorch:1@sha256:00", "nvcr.io", "nvidia/pytorch", None),
    ],
)
def test_a_name_in_parts(name: str, registry: str, repository: str, tag: str | None) -> None:
    found = reference.parse(name)
    assert found is not None
    assert (found.registry, found.repository, found.tag) == (registry, repository, tag)


@pytest.mark.parametrize("name", ["localhost/app:1", "", "a/../b:1", "sha256:", "nvcr.io/x:a b"])
def test_what_no_registry_can_have(name: str) -> None:
    assert reference.parse(name) is None
