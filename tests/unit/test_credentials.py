# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Credentials are found in what is to be kept, wherever they are in it; and what only looks like one is not."""

from __future__ import annotations

import base64
import hashlib
import json
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker import credentials
from stoker.credentials import Credential, found_in, redacted
from stoker.errors import UsageError

# Put together here, so that nothing in this file looks like one to those who scan for them.
HEX40 = hashlib.sha1(b"a key").hexdigest()
MIXED = "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0fG3iL6o"
AWS_ID = "AKIA" + "IOSFODNN7EXAMPLE"
AWS_SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCY" + "EXAMPLEKEY"
PEM = "-----BEGIN {0}PRIVATE KEY-----\nMIIEow\nIBAAKC\n-----END {0}PRIVATE KEY-----"
FOUND: list[tuple[str, str, str]] = [
    ("GitHub token", "ghp_" + MIXED[:36], "ghp_" + MIXED[:36]),
    ("GitHub token", f"https://gho_{MIXED[:36]}@github.com/a/b", "gho_" + MIXED[:36]),
    ("GitHub token", "github_pat_" + MIXED + "_" + MIXED, MIXED),
    ("API key (sk-)", "sk-" + MIXED + "x9", MIXED),
    ("API key (sk-)", "key is sk-proj-" + MIXED, MIXED),
    ("Anthropic key", "sk-ant-api03-" + MIXED, MIXED),
    ("AWS access key", AWS_ID, AWS_ID),
    ("AWS secret key", f"{AWS_ID}\n{AWS_SECRET}", AWS_SECRET),
    ("AWS secret key", "secret access key: " + AWS_SECRET, AWS_SECRET),
    ("private key", PEM.format("RSA "), "MIIEow"),
    ("private key", "my key\n" + PEM.format("OPENSSH "), "MIIEow"),
    ("private key", PEM.format("").partition("\n-----END")[0], "MIIEow"),
    ("private key", json.dumps(PEM.format("EC ")), "MIIEow"),
    ("password in a URL", "postgresql+psycopg://ada:hunter2@db.example/x", "hunter2"),
    ("password in a URL", "redis://:hunter2@cache:6379/0", "hunter2"),
    ("password in a URL", "DATABASE=mysql://a:p/w:x@h/db?ssl=1", "p/w:x"),
    ("password in a URL", "https://ada:hunter@2@host/", "hunter"),
    ("password", "host=db user=ada password=hunter2 dbname=x", "hunter2"),
    ("bearer token", "curl -H 'Authorization: Bearer " + MIXED + "'", MIXED),
    ("Hugging Face token", "hf_" + MIXED[:34], "hf_" + MIXED[:34]),
    ("W&B key", "wandb login " + HEX40, HEX40),
    ("W&B key", "WANDB_API_KEY=" + HEX40, HEX40),
    ("W&B key", "wandb_v1_" + MIXED, MIXED),
    ("Slack token", "xoxb-" + "123456789012-abcdefABCDEF", "123456789012"),
    ("Telegram token", "https://api.telegram.org/bot123456789:" + "AbC-1" * 7 + "/getMe", "AbC-1AbC-1"),
    ("Slack webhook", "https://hooks.slack.com/services/" + "T0000/B0000/" + MIXED, MIXED),
    ("named secret", "export VAST_API_KEY=" + "0a1b2c3d", "0a1b2c3d"),
    ("Stoker token", "stoker_" + (MIXED + MIXED)[:43], MIXED[:30]),
    ("JSON web token", "eyJhbGciOiJIUzI1" + ".eyJzdWIiOiIxMjM0" + ".SflKxwRJSMeKKF2Q", "SflKxwRJSMeKKF2Q"),
]  # fmt: skip
# A picture, as somebody may keep it in a note.
BLOCK = "-----BEGIN {0}-----\nMIIB\n-----END {0}-----"
PICTURE = base64.b64encode(hashlib.shake_256(b"pixels").digest(60_000)).decode()
INNOCENT: list[Any] = [
    HEX40, hashlib.sha256(b"x").hexdigest(), hashlib.md5(b"x").hexdigest(), str(uuid.UUID(int=7)),
    "sha256:" + hashlib.sha256(b"y").hexdigest(), f"commit {HEX40} of wandb/client", f"wandb run at commit {HEX40}",
    f"git checkout {HEX40}", PICTURE, f"data:image/png;base64,{PICTURE}",
    base64.urlsafe_b64encode(b"\xff" * 999).decode(), "the bearer of news",
    "/home/ada/.ssh/id_ed25519", "/srv/data/sk-learn-contrib/imbalanced-learn-0.12", "sk-learn", "scikit-learn==1.5.0",
    "C:\\Users\\ada\\AKIA", "AKIA", "the key begins with AKIA", "ghp_", "hf_transfer", "hf_hub_download(repo_id)",
    "http://localhost:8080/users/@me", "http://host:80/a@b", "https://example.com/a:b", "git@github.com:owner/repo.git",
    "ssh://git@host:22/repo", "postgresql://ada@db.example/x", "postgresql://ada:***@db.example/x",
    "postgresql://ada:$PGPASSWORD@db/x", "postgresql://ada:${PGPASSWORD}@db/x", "postgresql://ada:<password>@db/x",
    "postgresql://{user}:{password}@{host}/x", "ratio 3:4@5", "see user: ada@example.com",
    "the password is in the vault", "password: rotate it weekly", "password=$PASSWORD", "password=...", "password=None",
    "Bearer tokens are refused without TLS", "Authorization: Bearer $TOKEN", "api_key: see the wiki", "api_key=None",
    "max_tokens=4096", "token_count: 123456789", "secret_env: [HF_TOKEN, WANDB_API_KEY]", "wandb login",
    BLOCK.format("CERTIFICATE"), BLOCK.format("PUBLIC KEY"),
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0 ada@host", "xoxo-love", "loss 0.4123456789012345678901234567890",
    {"password": None, "api_key": "", "token": 7, "max_tokens": 100, "tokens": ["a", "b"]},
    {"secret_env": ["WANDB_API_KEY"], "password": "<ask ada>", "api_key": "${API_KEY}"},
    {"commit": HEX40, "wandb": {"run": "abc123", "commit": HEX40}}, {"id": str(uuid.UUID(int=9)), "sha": HEX40},
    [1, 2.5, True, None, {"a": []}], "{not json", "[]", '"a text"', "", " ", "\0",
]  # fmt: skip


@pytest.mark.accepts("C31")
@pytest.mark.parametrize(("kind", "text", "secret"), FOUND)
def test_each_kind_is_found_and_named_and_never_repeated(kind: str, text: str, secret: str) -> None:
    found = found_in(text, "value")
    assert Credential(kind, "value") in found
    clean = redacted(text)
    assert secret not in clean
    assert f"[redacted: {kind}]" in clean
    assert found_in(clean, "value") == []
    assert redacted(clean) == clean
    assert secret not in str(found)


@pytest.mark.accepts("C31")
@pytest.mark.parametrize("value", INNOCENT, ids=lambda value: str(value)[:40])
def test_what_only_looks_like_one_passes(value: Any) -> None:
    assert found_in(value, "value") == []
    assert redacted(value) == value
    if not isinstance(value, str):
        assert found_in(json.dumps(value), "value") == []


@pytest.mark.accepts("C31")
@pytest.mark.parametrize(
    ("value", "place"),
    [
        ({"db": {"url": "x://a:hunter2@h"}}, "value.db.url"),
        ({"a": [1, {"ghp_" + MIXED[:36]: 2}]}, "value.a[1].(a key)"),
        ({"a": ["x", "ghp_" + MIXED[:36]]}, "value.a[1]"),
        ({"a": json.dumps({"b": json.dumps(["hf_" + MIXED[:34]])})}, "value.a.b[0]"),
        ({"wandb": {"api": {"key": HEX40}}}, "value.wandb.api.key"),
        ({"db": {"password": "correcthorse"}}, "value.db.password"),
        ({"db": {"password": 12345678}}, "value.db.password"),
        ({"password": {"value": "hunter2abc"}}, "value.password.value"),
        ({"password": "correct horse"}, "value.password"),
        ({"secret": "hunter2abc99"}, "value.secret"),
        ({"db_pass": "hunter2abc99"}, "value.db_pass"),
        ({"note": "secret=hunter2abc99"}, "value.note"),
        ({"aws": [AWS_ID, AWS_SECRET]}, "value.aws[1]"),
        ({"aws": {"id": AWS_ID, "other": AWS_SECRET}}, "value.aws.other"),
        ('["\\u0067hp_' + MIXED[:36] + '"]', "value[0]"),
    ],
)
def test_the_place_in_nested_json_is_told(value: Any, place: str) -> None:
    for form in (value, value if isinstance(value, str) else json.dumps(value)):
        assert place in [one.place for one in found_in(form, "value")]
        clean = redacted(form)
        assert found_in(clean, "value") == []
        assert "[redacted: " in json.dumps(clean)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text("abc xyz{}[]:,\"'\\", max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abcxyz_ ", max_size=6), inner, max_size=4),
    max_leaves=12,
)


@st.composite
def hidden(draw: st.DrawFn) -> tuple[Any, str]:
    """A nested value with a credential in it: as a value, a part of one, or a key; at times as JSON in a text."""
    _kind, text, secret = draw(st.sampled_from(FOUND))
    value: Any = draw(st.sampled_from([text, f"see {text} there", {text: 1}, {"k": text}, [text]]))
    for _ in range(draw(st.integers(0, 5))):
        beside = draw(json_values)
        wrap = draw(st.sampled_from(["list", "mapping", "text", "key"]))
        if wrap == "list":
            value = [beside, value]
        elif wrap == "mapping":
            value = {"a": beside, "b": value}
        elif wrap == "text":
            value = json.dumps(value, ensure_ascii=draw(st.booleans()), indent=draw(st.sampled_from([None, 2])))
        else:
            value = {json.dumps(value): beside}
    return value, secret


@pytest.mark.accepts("C31")
@given(hidden())
def test_nothing_hides_in_nesting(made: tuple[Any, str]) -> None:
    value, secret = made
    assert found_in(value, "value")
    clean = redacted(value)
    assert json.dumps(secret)[1:-1] not in json.dumps(clean)
    assert found_in(clean, "value") == []
    assert type(clean) is type(value)
    if isinstance(value, dict | list):
        assert len(clean) == len(value)


@given(json_values)
def test_a_value_without_one_stays_as_it_is(value: Any) -> None:
    assert found_in(value, "value") == []
    assert redacted(value) == value


def test_what_is_too_deep_to_look_through_is_refused() -> None:
    deep: Any = "x"
    for _ in range(credentials.DEEPEST + 2):
        deep = [deep]
    for value in (deep, json.dumps(deep), "[" * 100_000 + "]" * 100_000):
        with pytest.raises(UsageError, match="looked through"):
            found_in(value, "value")
    assert found_in("{" * 50_000 + "}" * 50_000, "value") == []  # no JSON at all


def test_a_long_text_is_looked_through_without_going_over_it_again_and_again() -> None:
    for text in ("a" * 65_536, "password" * 8000, "x://a:" * 9000, "secret " * 9000, "-----BEGIN PRIVATE KEY" * 3000,
                 "wandb key " * 6000, AWS_ID + " " * 65_000, "{" * 30_000, "@" * 65_536, "sk-" * 20_000):  # fmt: skip
        found_in(text, "value")


def test_a_long_text_that_only_begins_like_web_tokens_is_read_once() -> None:
    # With a look from each beginning to the end of the word it would take hours.
    assert found_in("-eyJabcdefgh" * 170_000, "text") == []


def test_a_web_token_is_found_behind_what_begins_like_one() -> None:
    token = "eyJhbGciOiJIUzI1" + ".eyJzdWIiOiIxMjM0" + ".SflKxwRJSMeKKF2Q"
    for before in ("x-eyJ-", "eyJabcdefgh.eyJabcdefgh.x.", "eyJabcdefgh.", "-eyJabcdefgh" * 9 + " "):
        assert "SflKxwRJSMeKKF2Q" not in redacted(before + token)
