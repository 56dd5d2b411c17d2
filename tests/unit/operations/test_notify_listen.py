# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands that come as messages: carried out for who is allowed, once, in their role; for nobody else."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from contracts.chats import Chats

from stoker.errors import StokerError
from stoker.operations import inbox
from stoker.operations.notify_listen import listen
from stoker.operations.session import Session

TOKEN = "123456789:" + "AbC-1" * 7
OPERATOR, READER, STRANGER = 4711, 12, 99


@pytest.fixture
def chats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Chats]:
    chats = Chats(tmp_path / "ca")
    for name, value in chats.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("BOT_TOKEN", TOKEN)
    Path("stoker.yml").write_text(
        f"notify: {{telegram: {{token_env: BOT_TOKEN, allow: {{{OPERATOR}: operate, {READER}: read}}}}}}\n"
    )
    yield chats
    chats.close()


@pytest.fixture
def job(session: Session) -> str:
    return session.store.add_job("train", {"argv": ["python", "train.py"]}).id


def heard(session: Session) -> list[tuple[int, str | None, str]]:
    return [(int(one.user), one.command, one.outcome) for one in listen(session, once=True)]


def answers(chats: Chats) -> list[str]:
    return [said["text"] for _, said in chats.taken]


@pytest.mark.accepts("C54")
def test_who_is_allowed_gets_answers_and_what_destroys_is_confirmed(session: Session, chats: Chats, job: str) -> None:
    chats.write(OPERATOR, "/jobs@our_bot")
    chats.write(OPERATOR, f"/stop {job}")
    assert heard(session) == [(OPERATOR, "jobs", "done"), (OPERATOR, "stop", "asked")]
    first, second = answers(chats)
    assert job in first
    assert second == f"To do that, write: /stop {job} yes"
    assert session.store.job(job).state == "queued"  # type: ignore[union-attr]
    chats.write(OPERATOR, f"/stop {job} yes")
    assert heard(session) == [(OPERATOR, "stop", "done")]
    assert session.store.job(job).state == "cancelled"  # type: ignore[union-attr]
    call = session.store.calls.newest(1)[0]
    assert (call.who, call.via, call.operation, call.outcome) == ("telegram:4711", "telegram", "jobs.stop", "ok")


@pytest.mark.accepts("C54", "C70")
def test_nobody_else_is_answered_and_a_role_is_a_role(session: Session, chats: Chats, job: str) -> None:
    chats.write(STRANGER, f"/stop {job} yes")
    chats.write(STRANGER, "/jobs")
    chats.write(OPERATOR, f"/stop {job} yes", kind="group")
    chats.write(READER, f"/stop {job} yes")
    chats.write(READER, f"/job {job}")
    assert heard(session) == [
        (STRANGER, None, "ignored"), (STRANGER, None, "ignored"), (OPERATOR, None, "ignored"),
        (READER, "stop", "denied"), (READER, "job", "done"),
    ]  # fmt: skip
    denied, shown = answers(chats)
    assert denied.startswith("the role 'read' may not do jobs.stop")
    assert "python train.py" in shown
    assert session.store.job(job).state == "queued"  # type: ignore[union-attr]
    calls = [(call.who, call.outcome) for call in session.store.calls.newest(10)]
    assert calls.count(("telegram:99", "denied")) == 1
    assert ("telegram:12", "denied") in calls


@pytest.mark.accepts("C54")
def test_what_is_no_command_is_in_the_inbox(session: Session, chats: Chats) -> None:
    chats.write(OPERATOR, "look at n1, its password=opensesame")
    chats.write(STRANGER, "buy this")
    assert [outcome for *_, outcome in heard(session)] == ["kept", "ignored"]
    (mail,) = inbox.list_inbox(session, unread=True).messages
    assert (mail.title, mail.body) == ("message from telegram:4711 Jo", "look at n1, its password=[redacted]")
    inbox.read(session, mail.number)
    assert inbox.list_inbox(session, unread=True).messages == ()
    assert inbox.archive(session).numbers == (mail.number,)


@pytest.mark.parametrize(
    "text", ["/jobs --config=/etc/shadow", "/exec n1", "/run x", "/logs ../../x", "/job a;reboot", "/", "/jobs $(x)"]
)
def test_options_and_other_commands_are_refused(session: Session, chats: Chats, text: str) -> None:
    chats.write(OPERATOR, text)
    assert heard(session) == [(OPERATOR, None, "refused")]
    assert session.store.calls.newest(10) == []


def test_a_command_is_carried_out_once_and_not_long_after(session: Session, chats: Chats, job: str) -> None:
    chats.write(OPERATOR, f"/stop {job} yes", ago_s=3600)
    chats.write(OPERATOR, "/jobs")
    listening = iter(listen(session, once=True))
    assert next(listening).outcome == "late"
    # Killed here: what was read and not answered is read again, what was answered is not.
    other = Session(store_url=str(session.store_url))
    assert heard(other) == [(OPERATOR, "jobs", "done")]
    assert heard(other) == []
    assert [one.outcome for one in listening] == []
    assert session.store.job(job).state == "queued"  # type: ignore[union-attr]
    other.close()


def test_what_telegram_refuses_is_told_without_the_token(
    session: Session, chats: Chats, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOT_TOKEN", TOKEN + "x")
    with pytest.raises(StokerError) as problem:
        list(listen(session, once=True))
    assert str(problem.value) == "Telegram did not do getUpdates: Unauthorized"
    chats.close()
    with pytest.raises(StokerError) as problem:
        list(listen(session, once=True))
    assert TOKEN not in str(problem.value)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{}", "stoker.yml names no bot"),
        ("notify: {telegram: {token_env: X}}", "stoker.yml allows nobody to ask"),
        ("notify: {telegram: {token_env: X, allow: {4711: read}}}", "the variable X is not set here"),
        ("notify: {telegram: {token_env: X, allow: {jo: read}}}", "'jo' is not the number of a user"),
        ("notify: {telegram: {token_env: X, allow: {1: king}}}", "notify.telegram.allow: {'1': 'king'} is not"),
    ],
)
def test_without_a_bot_or_users_nothing_listens(session: Session, text: str, sentence: str) -> None:
    Path("stoker.yml").write_text(text)
    with pytest.raises(StokerError) as problem:
        listen(session)
    assert sentence in str(problem.value)
    assert problem.value.exit_code == (1 if "variable" in sentence else 2)


def test_each_bot_has_its_own_place(session: Session, chats: Chats) -> None:
    session.store.notices.begin(["@telegram:987654321"], 10**9)  # another bot, whose numbers are far ahead
    chats.write(OPERATOR, "hello")
    assert [outcome for *_, outcome in heard(session)] == ["kept"]
    assert session.store.notices.targets()["@telegram:123456789"].seen > 0


@pytest.mark.accepts("C54")
def test_numbers_that_begin_anew_after_a_quiet_week_are_heard_once(session: Session, chats: Chats) -> None:
    place, notices = "@telegram:123456789", session.store.notices
    notices.begin([place], 0)
    notices.reached(place, 10**6)
    chats.write(OPERATOR, "old, and taken")  # a number below, a moment after the newest one
    assert heard(session) == []
    week_ago = time.time() - 7 * 86400
    notices.reached(place, 10**6 + 1, now=week_ago)
    chats.write(OPERATOR, "hello")
    chats.write(OPERATOR, "again")
    assert heard(session) == [(OPERATOR, None, "kept")] * 2
    assert [mail.body for mail in inbox.list_inbox(session).messages] == ["again", "hello"]
    assert heard(session) == []
    assert notices.targets()[place].seen < 10**6
