# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tags of an image from a registry that is strict about tokens, pages and patience."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from contracts.registry import Registry

from stoker.images import reference, registry

NAME = "nvidia/pytorch"
TAGS = [f"{year}.{month:02}-py3" for year in (24, 25) for month in range(1, 13)]


@pytest.fixture
def serving(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[..., Registry]]:
    """A factory of registries that have an image; no login of this machine's user is seen."""
    made: list[Registry] = []
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.delenv("REGISTRY_AUTH_FILE", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))

    def make(**options: Any) -> Registry:
        made.append(Registry(**options))
        made[-1].publish(NAME, *TAGS)
        return made[-1]

    yield make
    for server in made:
        server.close()


def tags(server: Registry, name: str = NAME) -> list[str]:
    found = reference.parse(f"{server.host}/{name}:25.03-py3")
    assert found is not None
    return registry.tags(found)


@pytest.mark.accepts("D36")
def test_all_pages_are_read_with_one_token(serving: Callable[..., Registry]) -> None:
    server = serving(page=10)
    assert tags(server) == TAGS
    assert len(server.tokens) == 1
    assert sum("tags/list" in path for path in server.asked) == 4  # the first one twice: without a token, and with it


@pytest.mark.accepts("D36")
def test_a_login_is_that_of_the_engines(serving: Callable[..., Registry], tmp_path: Path) -> None:
    server = serving(login=("$oauthtoken", "key"))
    with pytest.raises(registry.RegistryError, match=r"the registry wants a login \(401\)"):
        tags(server)
    auth = base64.b64encode(b"$oauthtoken:key").decode()
    (tmp_path / "config.json").write_text(json.dumps({"auths": {server.host: {"auth": auth}}}))
    assert tags(server) == TAGS


@pytest.mark.accepts("D36")
def test_a_registry_that_is_busy_is_asked_again(serving: Callable[..., Registry]) -> None:
    server = serving(busy=1)
    assert tags(server) == TAGS
    assert server.busy == 0


@pytest.mark.accepts("D36")
def test_what_a_registry_does_not_tell_is_said_in_one_sentence(serving: Callable[..., Registry]) -> None:
    server = serving()
    with pytest.raises(registry.RegistryError, match="nvidia/nothing: the registry has no such image"):
        tags(server, "nvidia/nothing")
    server.close()
    with pytest.raises(registry.RegistryError, match="cannot be reached: Connection refused"):
        tags(server)
    server.close = lambda: None  # type: ignore[method-assign]
