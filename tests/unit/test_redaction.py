# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets are taken out of text and of values, and what is none stays."""

from __future__ import annotations

import json

import pytest

from stoker.redaction import GONE, names_secret, redact, redacted

# Made up, and put together here, so that no scanner takes them for real ones.
SECRETS = [
    "sk-" + "a1B2" * 6, "hf_" + "Abcd" * 6, "ghp_" + "Abc1" * 9, "glpat-" + "abc1" * 5, "xoxb-" + "1234567890-abc",
    "AKIA" + "ABCD" * 4, "stoker_" + "aB3-" * 11, "eyJhbGciOiJIUz" + ".eyJzdWIiOi" + "JxYWJj.c2lnbmF0dXJl",
    "123456789:" + "AbC-1" * 7, "xapp-" + "1-A0B1C2D3E4-abc", "npm_" + "aB3d" * 9, "pypi-" + "AgEI" * 12,
    "wandb_v1_" + "aB3d" * 8,
]  # fmt: skip


@pytest.mark.parametrize("secret", SECRETS)
def test_tokens_of_known_forms_are_taken_out(secret: str) -> None:
    assert redact(f"fetching with {secret}, then on") == f"fetching with {GONE}, then on"
    assert secret not in json.dumps(redacted({"log": [{"line": f"x {secret}"}]}))


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("postgresql://me:hunter2@db:5432/x", f"postgresql://me:{GONE}@db:5432/x"),
        ("postgresql://ada:hunt/er2@h/runs", f"postgresql://ada:{GONE}@h/runs"),
        ("redis://:hunt@er2@h:1/0", f"redis://:{GONE}@h:1/0"),
        ("https://api.telegram.org/bot123456789:" + "AbC-1" * 7 + "/x", f"https://api.telegram.org/bot{GONE}/x"),
        ("DEPLOY_KEY=abc OPENAI_KEY: xyz", f"DEPLOY_KEY={GONE} OPENAI_KEY: {GONE}"),
        ("MYSQL_PWD=abc SSHPASS=xyz", f"MYSQL_PWD={GONE} SSHPASS={GONE}"),
        ("Uid=ada;Pwd=abc;", f"Uid=ada;Pwd={GONE};"),
        ("sshpass -p abc ssh n1", f"sshpass -p {GONE} ssh n1"),
        ("SECRET=abc", f"SECRET={GONE}"),
        ("https://hooks.slack.com/services/T0/B0/xyz", f"https://hooks.slack.com/services/{GONE}"),
        ("https://discord.com/api/webhooks/1/abc", f"https://discord.com/api/webhooks/{GONE}"),
        ("WANDB_API_KEY=abc123", f"WANDB_API_KEY={GONE}"),
        ('{"password": "open sesame", "n": 1}', f'{{"password": "{GONE}", "n": 1}}'),
        ("curl -H 'Authorization: Bearer abcdefgh12'", f"curl -H 'Authorization: {GONE} {GONE}'"),
        ("['x', '--token', 'abc']", f"['x', '--token', '{GONE}']"),
        ("ansible_become_pass: abc", f"ansible_become_pass: {GONE}"),
        ("x --api-key abc y", f"x --api-key {GONE} y"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl\n-----END OPENSSH PRIVATE KEY-----\nrest", f"{GONE}\nrest"),
        ("-----BEGIN RSA PRIVATE KEY-----\nb3Bl\ncut of", GONE),
    ],
)
def test_what_is_called_a_secret_is_taken_out(text: str, left: str) -> None:
    assert redact(text) == left


@pytest.mark.parametrize(
    "text",
    [
        "loss 0.1 tokens: 4096 tokens/s 33", "url_env: SLACK_URL", "secret_env: [HF_TOKEN]", "token_file: /etc/x",
        "commit 4f1c2aa09b5d6e7f8091a2b3c4d5e6f708192a3b", "http://127.0.0.1:8000/health", "max_tokens: 5",
        "GPU-8f2b1c3d-0000-1111-2222-333344445555", "10:57:33 job.failed exit 3", "pass_limit: 10", "passed: 3",
        "the token is missing", "http://localhost:8080/users/@me", "PWD=/home/ada OLDPWD=/srv", "key: gpu-hot:n1",
        "stoker run --secret HF_TOKEN -- ls", "secrets: [HF_TOKEN]", "sort_key: loss", "public_key = abc", "keys: 3",
    ],
)  # fmt: skip
def test_what_is_no_secret_stays(text: str) -> None:
    assert redact(text) == text


def test_known_values_and_secret_names_go_at_any_depth() -> None:
    value = {"a": [{"db_password": {"x": "yyy"}, "n": 5, "note": "open it with sesame-street, please"}], "token": ""}
    left = {"a": [{"db_password": {"x": GONE}, "n": 5, "note": f"open it with {GONE}, please"}], "token": ""}
    assert redacted(value, ["sesame-street", "it"]) == left
    assert redacted({"password": ["a", "b"]}) == {"password": [GONE, GONE]}
    assert redacted(["run", "--secret", "HF_TOKEN"]) == ["run", "--secret", "HF_TOKEN"]
    for name in ("HF_TOKEN", "DEPLOY_KEY", "FERNET_KEY", "MYSQL_PWD", "SSHPASS", "SECRET", "client-secret"):
        assert names_secret(name)
    for name in ("url_env", "PWD", "key", "secrets", "SSH_KEY_PATH", "monkey"):
        assert not names_secret(name)


@pytest.mark.parametrize(
    "piece", ["x", "-", "a.", "eyJ-", "token", "Bearer ", "a:", "://", "--token-", "'", "_key", "a://b:"]
)
def test_long_text_takes_no_longer_than_its_length(piece: str) -> None:
    # With the square of its length these would take longer than a test may.
    assert redact(piece * (1_000_000 // len(piece)))
