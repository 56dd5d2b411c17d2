# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Messages to people: each event once to each target, by the real library to servers that are as strict as the real."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from played import PlayedNodes

sys.path.insert(0, str(Path(__file__).parents[2]))

from contracts.chats import Chats
from contracts.mail import MailServer

from stoker.errors import NotFound, StokerError
from stoker.operations import inbox, notify
from stoker.operations.dispatch import dispatch
from stoker.operations.session import Session

RULES = """\
notify:
  targets:
    {targets}
  rules:
    - events: [job.ended, node.offline, node.recovered]
      to: [{names}, inbox]
"""


@pytest.fixture
def chats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Chats]:
    chats = Chats(tmp_path / "ca")
    for name, value in chats.env.items():
        monkeypatch.setenv(name, value)
    yield chats
    chats.close()


@pytest.fixture
def mail() -> Iterator[MailServer]:
    server = MailServer()
    yield server
    server.close()


def configure(session: Session, urls: dict[str, str], monkeypatch: pytest.MonkeyPatch, text: str = RULES) -> None:
    """Targets with these addresses, each in a variable of its own; their first round is over."""
    lines = []
    for name, url in urls.items():
        monkeypatch.setenv(f"{name.upper()}_URL", url)
        lines.append(f"{name}: {{url_env: {name.upper()}_URL}}")
    Path("stoker.yml").write_text(text.format(targets="\n    ".join(lines), names=", ".join(urls)))
    session.forget_config()
    notify.send(session)


def happened(session: Session, kind: str, job: str | None = None, node: str | None = "n1", **data: Any) -> int:
    with session.store.write() as transaction:
        return transaction.event(kind, data.pop("at", time.time()), job=job, node=node, data=data)


def added(session: Session, name: str, **spec: Any) -> str:
    more = {"argv": ["python", "train.py"], **spec}
    return session.store.add_job(name, more).id


@pytest.mark.accepts("R31", "C54")
@pytest.mark.filterwarnings("ignore:Requiring AUTH")
def test_slack_discord_telegram_a_webhook_and_mail_take_what_is_sent(
    session: Session, chats: Chats, mail: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(session, {
        "slack": f"https://hooks.slack.com{chats.SLACK}", "discord": f"https://discord.com{chats.DISCORD}",
        "telegram": f"tgram://123456789:{'AbC-1' * 7}/4711", "hook": chats.webhook,
        "mail": f"mailto://me:hunter22@127.0.0.1:{mail.port}?mode=insecure&from=stoker@example.org&to=me@example.org",
    }, monkeypatch)  # fmt: skip
    job = added(session, "train")
    # A job's own words: too long for most, with commands to a terminal and a chat, and a secret.
    hostile = f"\x1b[2J@everyone <!channel> HF_TOKEN=hf_{'a' * 30} " + "x" * 5000
    happened(session, "job.failed", job, reason="oom", evidence=hostile)
    report = notify.send(session)
    assert report.problems == (), chats.refused
    assert (report.made, report.sent, report.due, report.problems) == (6, 6, 0, ())
    assert chats.refused == []
    told = {host: str(said) for host, said in chats.taken}
    told["mail"] = str(mail.mails[0]["Subject"]) + mail.mails[0].get_content()
    assert set(told) == {"hooks.slack.com", "discord.com", "api.telegram.org", "webhook", "mail"}
    for said in told.values():
        assert f"job {job} failed (oom) on n1" in said
        assert "python train.py" in said
        assert "a" * 30 not in said
        assert "\x1b" not in said
        assert "@everyone" not in said
        assert "<!channel" not in said
    hook = next(said for host, said in chats.taken if host == "webhook")
    assert hook["type"] == "failure"
    assert len(hook["message"]) <= 1500
    assert notify.send(session).sent == 0


@pytest.mark.accepts("R31")
def test_an_event_is_sent_once_also_by_the_rounds_and_after_a_restart(
    session: Session, nodes_played: PlayedNodes, chats: Chats, monkeypatch: pytest.MonkeyPatch
) -> None:
    happened(session, "job.failed", "before", reason="oom")
    configure(session, {"hook": chats.webhook}, monkeypatch)
    assert chats.taken == []  # what was before a target came is not told
    monkeypatch.setattr("stoker.operations.notify_sending.PASS_S", 120.0)  # not what is tested, on a slow machine
    seq = happened(session, "job.succeeded", "late")
    nodes_played.on_round = lambda _: happened(session, "node.offline", node="n2")
    report = next(iter(dispatch(session)))
    assert report.problems == ()
    assert [said["title"] for _, said in chats.taken] == ["job late succeeded on n1", "node n2 offline"]
    nodes_played.on_round = lambda _: None
    other = Session(store_url=str(session.store_url))
    assert notify.send(other).sent == 0
    other.store.notices.add("hook", seq, [])
    next(iter(dispatch(other)))
    other.close()
    assert len(chats.taken) == 2


def test_two_that_send_at_once_send_each_message_once(
    session: Session, chats: Chats, monkeypatch: pytest.MonkeyPatch
) -> None:
    from concurrent.futures import ThreadPoolExecutor

    configure(session, {"hook": chats.webhook}, monkeypatch)
    for number in range(8):
        happened(session, "job.failed", f"job-{number}")
    others = [Session(store_url=str(session.store_url)) for _ in range(3)]
    with ThreadPoolExecutor(3) as several:
        list(several.map(notify.send, others))
    for other in others:
        other.close()
    assert sorted(said["title"] for _, said in chats.taken) == [f"job job-{n} failed on n1" for n in range(8)]


def test_a_target_that_fails_is_shown_tried_again_later_and_stops_no_other(
    session: Session, chats: Chats, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = "json://127.0.0.1:{}/hook/wrong-secret-0815".format(chats.webhook.split(":")[2].split("/")[0])
    configure(session, {"bad": bad, "hook": chats.webhook}, monkeypatch)
    for name in ("one", "two"):
        happened(session, "job.failed", name)
    report = notify.send(session)
    assert [said["title"] for _, said in chats.taken] == ["job one failed on n1", "job two failed on n1"]
    assert len(chats.refused) == 1  # after a failure no other message is tried
    (problem,) = report.problems
    assert "no message to bad: " in problem.message
    assert "403" in problem.message
    view = next(one for one in notify.list_targets(session).targets if one.name == "bad")
    assert (view.due, view.sent) == (2, 0)
    assert view.failing_since is not None
    assert view.next_try is not None
    assert "403" in str(view.detail)
    assert "wrong-secret" not in repr((report, view))
    assert notify.send(session).problems == ()  # not before its next try
    assert len(chats.refused) == 1
    monkeypatch.setenv("BAD_URL", chats.webhook)
    session.store.notices.went("bad", now=time.time(), failed="x", next_try=time.time() - 1)
    assert notify.send(session).sent == 2
    assert next(one for one in notify.list_targets(session).targets if one.name == "bad").failing_since is None


def test_numbers_that_no_store_holds_are_refused(session: Session) -> None:
    huge = 99999999999999999999999
    for act in (lambda: inbox.read(session, huge), lambda: inbox.list_inbox(session, limit=huge)):
        with pytest.raises(StokerError, match="larger than a store can hold") as problem:
            act()
        assert problem.value.exit_code == 2


def test_where_the_address_is_missing_the_target_is_not_marked_for_others(
    session: Session, chats: Chats, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(session, {"hook": chats.webhook}, monkeypatch)
    happened(session, "job.failed", "one")
    monkeypatch.delenv("HOOK_URL")
    (problem,) = notify.send(session).problems
    assert problem.message == "no message from here to hook: the variable HOOK_URL is not set here"
    view = notify.list_targets(session).targets[0]
    assert (view.due, view.failing_since, view.next_try) == (1, None, None)
    monkeypatch.setenv("HOOK_URL", chats.webhook)
    assert [said["title"] for _, said in chats.taken] == []
    notify.send(session)
    assert [said["title"] for _, said in chats.taken] == ["job one failed on n1"]


def test_a_server_that_does_not_answer_holds_up_nothing_for_long(
    session: Session, chats: Chats, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(session, {"hook": chats.webhook + "?cto=600&rto=600"}, monkeypatch)
    happened(session, "job.failed", "one")
    chats.silent = True
    monkeypatch.setattr("stoker.operations.notify.SEND_S", 3.0)
    (problem,) = notify.send(session).problems
    assert "gave no answer within 3 s" in problem.message
    assert notify.list_targets(session).targets[0].due == 1


def test_what_is_refused_again_and_again_or_is_too_old_is_given_up(
    session: Session, chats: Chats, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(session, {"hook": chats.webhook.replace("4711", "0000")}, monkeypatch, RULES + "  tries: 2\n")
    happened(session, "job.failed", "one")
    for _ in range(2):
        session.store.notices.went("hook", now=time.time(), failed="x", next_try=0.0)
        notify.send(session)
    happened(session, "job.failed", "old", at=time.time() - 2 * 86400)
    notify.send(session)
    view = notify.list_targets(session).targets[0]
    assert (view.due, view.failed) == (0, 1)


def test_the_same_is_left_out_for_the_cooldown_also_after_a_restart(
    session: Session, chats: Chats, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(session, {"hook": chats.webhook}, monkeypatch, RULES + "      cooldown_s: 300\n")
    now = time.time()
    happened(session, "node.offline", node="n1", at=now - 1000)
    happened(session, "node.online", node="n1", at=now - 990)
    notify.send(session)
    other = Session(store_url=str(session.store_url))
    happened(other, "node.offline", node="n1", at=now - 800)  # 200 s after, and over before it would be told
    happened(other, "node.online", node="n1", at=now - 795)
    happened(other, "node.offline", node="n2", at=now - 790)
    happened(other, "node.offline", node="n1", at=now - 650)  # 350 s after the one that was told
    notify.send(other)
    titles = [said["title"] for _, said in chats.taken]
    assert titles == ["node n1 offline", "node n1 online", "node n2 offline", "node n1 offline"]
    assert notify.list_targets(other).targets[0].left_out == 2
    other.close()


def test_in_quiet_times_only_what_is_urgent_is_sent(
    session: Session, chats: Chats, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = RULES.replace("HOOK_URL", "x") + "    - {{events: [alert.raised], to: [hook], urgent: true}}\n"
    configure(session, {"hook": chats.webhook}, monkeypatch, text)
    file = Path("stoker.yml")
    loud = file.read_text()
    file.write_text(loud.replace("url_env: HOOK_URL", "url_env: HOOK_URL, quiet: ['00:00-12:00', '12:00-00:00']"))
    session.forget_config()
    happened(session, "job.failed", "one")
    happened(session, "alert.raised", key="disk /", text="90% full")
    notify.send(session)
    assert [said["title"] for _, said in chats.taken] == ["alert n1 raised"]
    assert notify.list_targets(session).targets[0].quiet
    file.write_text(loud)
    session.forget_config()
    notify.send(session)
    assert [said["title"] for _, said in chats.taken][1:] == ["job one failed on n1"]


def test_rules_narrow_to_jobs_nodes_and_projects(
    session: Session, chats: Chats, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = RULES + "      projects: [vision]\n      jobs: ['train-*']\n      nodes: ['n*']\n"
    configure(session, {"hook": chats.webhook}, monkeypatch, text)
    fits = added(session, "train", workdir="/srv/vision")
    other = added(session, "train", workdir="/srv/text")
    named = added(session, "eval", workdir="/srv/vision")
    for job, node in ((fits, "n1"), (other, "n1"), (named, "n1"), (fits, "elsewhere")):
        happened(session, "job.failed", job, node)
    notify.send(session)
    assert [said["title"] for _, said in chats.taken] == [f"job {fits} failed on n1"]


def test_a_message_on_trial_says_whether_it_was_taken(
    session: Session, chats: Chats, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(session, {"hook": chats.webhook, "odd": "no such thing", "none": "x"}, monkeypatch)
    monkeypatch.delenv("NONE_URL")
    assert notify.test(session, "hook").exit_code == 0
    assert chats.taken[0][1]["message"] == "This is a test: messages of Stoker arrive here."
    odd = notify.test(session, "odd")
    assert (odd.exit_code, odd.why) == (1, "its address is none that apprise knows")
    with pytest.raises(StokerError, match="the variable NONE_URL is not set here"):
        notify.test(session, "none")
    with pytest.raises(NotFound, match=r"there is no target 'hok'. Did you mean 'hook'\?"):
        notify.test(session, "hok")


def test_without_the_library_the_way_to_it_is_told(
    session: Session, chats: Chats, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    (tmp_path / "gone" / "apprise.py").write_text("raise ImportError('not here')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "gone"))
    configure(session, {"hook": chats.webhook}, monkeypatch)
    assert notify.test(session, "hook").why == "apprise is not installed: pip install 'stoker[notify]'"


@pytest.mark.accepts("C54")
def test_the_inbox_knows_what_is_unread_read_and_put_away(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(
        session, {}, monkeypatch, RULES.replace("{names}, ", "").replace("targets:\n    {targets}", "targets: {{}}")
    )
    numbers = [happened(session, "job.failed", name, evidence="exit 3") for name in ("one", "two", "three")]
    assert next(iter(dispatch(session))).problems == ()
    listed = inbox.list_inbox(session).messages
    assert [(mail.number, mail.read_at) for mail in listed] == [(number, None) for number in reversed(numbers)]
    shown = inbox.read(session, numbers[0]).messages
    assert shown[0].read_at is not None
    assert "evidence: exit 3" in shown[0].body
    assert [mail.number for mail in inbox.list_inbox(session, unread=True).messages] == numbers[:0:-1]
    assert inbox.archive(session).numbers == (numbers[0],)
    assert [mail.number for mail in inbox.list_inbox(session).messages] == numbers[:0:-1]
    assert [mail.number for mail in inbox.list_inbox(session, archived=True).messages] == [numbers[0]]
    assert len(inbox.read(session).messages) == 2
    assert inbox.read(session).messages == ()
    with pytest.raises(NotFound, match="there is no message 999 in the inbox"):
        inbox.archive(session, 999)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("notify: {targets: {a: {}}}\n", "stoker.yml:1: notify.targets.a: needs url_env or url_file (one of the two)"),
        ("notify:\n  targets:\n    a: {url: x}\n", "stoker.yml:3: notify.targets.a.url: there is no such setting"),
        ("notify: {targets: {inbox: {url_env: A}}}\n", "notify.targets.inbox: is no name for a target"),
        (
            "notify:\n  targets:\n    a: {url_env: A, quiet: [night]}\n",
            "yml:3: notify.targets.a.quiet[0]: 'night' is not",
        ),
        (
            "notify:\n  rules:\n    - {events: [job.ended], to: [b]}\n",
            "yml:3: notify.rules[0].to[0]: there is no target 'b'",
        ),
        (
            "notify: {rules: [{events: [jobs.ended], to: [inbox]}]}\n",
            "notify.rules[0].events[0]: 'jobs.ended' is no kind",
        ),
        ("notify: {rules: [{to: [inbox]}]}\n", "notify.rules[0]: events is missing"),
        ("notify: {tries: 0}\n", "stoker.yml:1: notify.tries: 0 is not a whole number, 1 or more"),
    ],
)
def test_wrong_settings_are_told_with_their_line(session: Session, text: str, sentence: str) -> None:
    Path("stoker.yml").write_text(text)
    with pytest.raises(StokerError) as problem:
        _ = session.config
    assert sentence in str(problem.value)
