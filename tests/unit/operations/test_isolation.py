# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Containers, sandboxes and users as a person asks for them."""

from __future__ import annotations

from typing import Any

import pytest

from stoker.errors import UsageError
from stoker.operations import submit, templates
from stoker.operations.session import Session


def test_what_was_named_is_in_the_spec_and_nothing_else(session: Session) -> None:
    mounts = ["/data:/data:ro", "out:/out", "/same"]
    options: dict[str, Any] = {"shm": "8G", "network": "host", "image_pull": "always", "engine": "podman"}
    done = submit.run(session, ["true"], on="n1", container="img:1", mount=mounts, user="1000:100", **options)
    row = session.store.job(done.job.id)
    assert row is not None
    assert row.spec["container"] == {
        "image": "img:1", "engine": "podman", "pull": "always", "network": "host", "shm_bytes": 8 << 30,
        "mounts": [
            {"source": "/data", "target": "/data", "read_only": True},
            {"source": "out", "target": "/out", "read_only": False},
            {"source": "/same", "target": "/same", "read_only": False},
        ],
    }  # fmt: skip
    assert (done.job.container, done.job.user, done.job.sandbox) == ("img:1", "1000:100", None)
    plain = session.store.job(submit.run(session, ["true"], on="n1").job.id)
    assert plain is not None
    assert not {"container", "user", "sandbox"} & set(plain.spec)


def test_a_sandbox_may_leave_the_image_to_the_node(session: Session) -> None:
    done = submit.run(session, ["true"], on="n1", sandbox="container", shm="1G")
    row = session.store.job(done.job.id)
    assert row is not None
    assert (row.spec["sandbox"], row.spec["container"]) == ("container", {"shm_bytes": 1 << 30})


def test_a_template_keeps_them(session: Session) -> None:
    templates.save(session, "boxed", ["train"], container="img:1", mount=["/data:/data:ro"], sandbox="container")
    row = session.store.job(templates.run(session, "boxed", on="n1").job.id)
    assert row is not None
    assert row.spec["container"]["mounts"][0]["read_only"] is True
    assert (row.spec["container"]["image"], row.spec["sandbox"]) == ("img:1", "container")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"mount": ["/a:/b"]}, "--mount belongs to a container, and none is named"),
        ({"shm": "1G"}, "--shm belongs to a container"),
        ({"engine": "podman"}, "--engine belongs to a container"),
        ({"container": "i", "engine": "lxc"}, "--engine: 'lxc' is none of podman, docker"),
        ({"container": "i", "image_pull": "often"}, "--image-pull: 'often' is none of"),
        ({"container": "i", "mount": ["a:b:c:d"]}, "--mount: 'a:b:c:d' is no mount"),
        ({"container": "i", "mount": ["a:"]}, "--mount: 'a:' is no mount"),
        ({"container": "i", "mount": ["a:b"]}, "--mount: 'b' has to be an absolute path"),
        ({"container": "i", "shm": "big"}, "--shm: 'big' is not a size"),
        ({"container": "i", "sandbox": "bwrap"}, "a container cannot be in the sandbox bwrap"),
        ({"sandbox": "jail"}, "--sandbox: 'jail' is none of bwrap, container"),
        ({"container": "--privileged"}, "spec.container.image: must be the name of a container image"),
        ({"container": "i", "network": "--privileged"}, "spec.container.network"),
        ({"user": "-u0"}, "spec.user: must be a user name or number"),
    ],
)
def test_what_cannot_be_meant_is_refused(session: Session, arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError) as told:
        submit.run(session, ["true"], on="n1", **arguments)
    assert sentence in str(told.value)
    assert session.store.jobs() == []
