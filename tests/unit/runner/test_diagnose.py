# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a node's failure becomes: one line in the node's words, and a step that fits."""

from __future__ import annotations

import pytest

from stoker.runner.diagnose import diagnose, one_line, result_text

VARS = {"ansible_host": "10.0.0.7", "ansible_port": 2222, "ansible_user": "kim"}
VIA = "Task failed: Failed to connect to the host via ssh: "
CHANGED = """@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@
@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @
@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@
IT IS POSSIBLE THAT SOMEONE IS DOING SOMETHING NASTY!
Host key verification failed."""


@pytest.mark.parametrize(
    ("said", "kind", "message", "step"),
    [
        (
            VIA + "kim@10.0.0.7: Permission denied (publickey,password).",
            "publickey", "Permission denied (publickey,password)", "ssh-copy-id -p 2222 kim@10.0.0.7",
        ),
        (
            VIA + "Host key verification failed.",
            "host_key", "Host key verification failed", "ssh-keyscan -p 2222 10.0.0.7",
        ),
        (VIA + CHANGED, "host_key_changed", "Host key verification failed", "ssh-keygen -R '[10.0.0.7]:2222'"),
        (
            VIA + "ssh: connect to host 10.0.0.7 port 2222: Connection refused",
            "refused", "Connection refused", "listen on port 2222",
        ),
        (
            VIA + "ssh: connect to host 10.0.0.7 port 2222: No route to host",
            "no_route", "No route to host", "10.0.0.7 up",
        ),
        (
            VIA + "ssh: connect to host 10.0.0.7 port 2222: Connection timed out",
            "timeout", "Connection timed out", "reach its port 2222",
        ),
        (
            VIA + "ssh: Could not resolve hostname nope: Name or service not known",
            "name", "Could not resolve hostname nope: Name or service not known", "ansible_host",
        ),
        ("/bin/sh: 1: /usr/bin/python9: not found", "python", "/bin/sh: 1: /usr/bin/python9: not found", "interpreter"),
        ("[ERROR]: Task failed: Missing sudo password", "sudo", "Missing sudo password", "ansible_become_password"),
        (
            "OSError: [Errno 28] No space left on device",
            "space", "OSError: [Errno 28] No space left on device", "df -h",
        ),
        ("kex_exchange_identification: read: Connection reset by peer", "closed", None, "ssh -v"),
    ],
)  # fmt: skip
def test_known_causes(said: str, kind: str, message: str | None, step: str) -> None:
    found = diagnose(said, "n1", VARS)
    assert found.kind == kind
    assert message is None or found.message == message
    assert step in (found.next_step or "")


def test_the_key_that_was_offered_is_named() -> None:
    found = diagnose("Permission denied (publickey).", "n1", {"ansible_ssh_private_key_file": "~/.ssh/lab key"})
    assert found.next_step == "it was offered ~/.ssh/lab key: ssh-copy-id -i '~/.ssh/lab key' n1"


def test_a_banner_and_the_talk_of_ssh_are_no_reason() -> None:
    said = (
        "\x1b[0;31mFailed to connect to the host via ssh: ***********\r\nAuthorized uses only. All is logged.\r\n"
        "Warning: Permanently added '10.0.0.7' (ED25519) to the list of known hosts.\r\n"
        "Welcome to node seven\r\nkim@10.0.0.7: Permission denied (publickey).\r\n"
        "Connection to 10.0.0.7 closed.\x1b[0m"
    )
    assert one_line(said) == "Permission denied (publickey)."


def test_an_unknown_cause_keeps_its_words_and_gets_no_advice() -> None:
    found = diagnose("Task failed: the flux capacitor is empty\nmore", "n1", VARS)
    assert (found.kind, found.message, found.next_step) == ("other", "the flux capacitor is empty", None)


def test_without_the_nodes_variables_nothing_is_advised() -> None:
    assert diagnose("Connection refused", "n1").next_step is None


def test_silence_is_called_silence() -> None:
    assert diagnose("", "n1", VARS).message == "no reason was given"


@pytest.mark.parametrize(
    ("res", "text"),
    [
        ({"msg": "no good"}, "no good"),
        ({"msg": "non-zero return code", "rc": 3, "stderr": "a\nb", "stdout": ""}, "exit code 3: b"),
        ({"msg": "some items failed", "results": [{"failed": False}, {"failed": True, "msg": "item 2"}]}, "item 2"),
        ({"msg": "", "module_stderr": "Traceback"}, "Traceback"),
        ({"censored": "hidden", "msg": "secret"}, "hidden"),
        ({}, ""),
    ],
)
def test_where_a_result_says_what_failed(res: dict[str, object], text: str) -> None:
    assert result_text(res) == text
