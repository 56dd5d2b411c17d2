"""What a job can be told, declared once for every command that makes one: run, template save, queue add."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypedDict, get_type_hints

from stoker.config import MOST
from stoker.errors import UsageError
from stoker.operations import quantities
from stoker.operations.agent_options import named_agent
from stoker.operations.isolation import isolation_spec
from stoker.operations.registry import FileText, Short

CHECKPOINT_EVERY_S = 300.0
_LABEL = re.compile(r"[\w./:-]{1,63}")


class JobOptions(TypedDict, total=False):
    """Options of a job.

    Args:
        on: Node, group or pattern of them (gpu:&lab:!spark) to run on, or pool:NAME for a rented machine; any node that
            is not rented by default.
        where: Only on nodes with this host variable, stoker_gpu_model=H100 (or != < <= > >=). Repeatable.
        apart: Not on a node with another job of this label.
        data: Prefer nodes that have this data: by their stoker_data, or from earlier jobs. Repeatable.
        gpus: How many GPUs the job gets for itself; it waits on the node until they are free.
        name: A name for the job; its id begins with it. The command's name by default.
        env: An environment variable, KEY=VALUE. Repeatable.
        secret: Name of a variable of the environment, or of stoker_secrets, whose value the job gets without it being
            stored. Repeatable.
        workdir: Folder to run in. By default the current folder on this machine, the home folder on other nodes.
        timeout: Stop the job after this long (90s, 2h).
        memory: Most memory the job may use (8G), where the node can limit it; it goes where so much is left.
        cpus: Most CPUs the job may use, where the node can limit it; it goes where so many are left.
        disk: How much room a disk of the node has to have (50G).
        retries: How often to start it again when it fails.
        retry_on: Only for this failure: an exit code (75), some (64-78), a signal (SIGKILL), or code, signal, oom,
            timeout, lost. Repeatable.
        lease: What becomes of it when its node cannot be reached: keep (it is left alone), move (after 10 minutes
            the node ends it, and it starts elsewhere), or move:1h.
        grace: How long it may take to end after the signal to stop, before it is killed (10s).
        checkpoint_signal: Signal to send before a stop so that the job writes a checkpoint (USR1).
        checkpoints: Where the job writes checkpoints: a file or folder of its folder (out/last.pt), or a pattern
            (out/checkpoint-*). They are fetched while it runs; its next attempt goes on from the newest one.
        checkpoint_every: How often they are fetched (5m).
        checkpoint_ask: Send the --checkpoint-signal before each fetch.
        metric: A number to take from the log, NAME=REGEX; the first group is the value. Repeatable.
        script: Run this text instead of a command, with /bin/sh or what its first line names. On the command line: a
            file, or -.
        split_output: Keep stdout and stderr in files of their own, too.
        strict: Fail instead of starting on GPUs that others use, or of which that is not known. By default quiet GPUs
            are preferred, and there is a warning where there are none.
        gpu_memory: How much memory has to be free on each of its GPUs (20G).
        container: Image of a container to run in, on the node's Podman or Docker. The folder to run in is mounted.
        mount: A folder or file of the node to mount in the container, SOURCE:TARGET or SOURCE:TARGET:ro. Repeatable.
        shm: Size of the container's shared memory (8G).
        engine: The container engine, podman or docker; by default what the node has.
        image_pull: When to fetch the image: missing (the default), never or always.
        network: Network of the container, such as host or none; the engine's own default otherwise.
        user: User of the node to run as, where its own one is root; in a container: user of the container.
        sandbox: bwrap or container: the job can write to its folder and to a /tmp of its own only.
        agent: Instead of a command, an agent of stoker.yml, which gets the --prompt.
        prompt: What the agent is asked to do. On the command line: a file, or -.
        max_turns: Stop the agent when it reports more turns.
        max_tokens: Stop the agent when it reports more tokens, read and written.
        max_cost: Stop the agent when it reports that it cost more dollars.
    """

    on: str | None
    where: Sequence[str]
    apart: str | None
    data: Sequence[str]
    gpus: int | None
    name: Annotated[str | None, Short("-n")]
    env: Annotated[Mapping[str, str] | None, Short("-e")]
    secret: Sequence[str]
    workdir: str | None
    timeout: float | str | None
    memory: int | str | None
    cpus: float | None
    disk: int | str | None
    retries: int | None
    retry_on: Sequence[str]
    lease: str | None
    grace: float | str | None
    checkpoint_signal: str | None
    checkpoints: str | None
    checkpoint_every: float | str | None
    checkpoint_ask: bool
    metric: Mapping[str, str] | None
    script: FileText
    split_output: bool
    strict: bool
    gpu_memory: int | str | None
    container: str | None
    mount: Sequence[str]
    shm: int | str | None
    engine: str | None
    image_pull: str | None
    network: str | None
    user: str | None
    sandbox: str | None
    agent: str | None
    prompt: FileText
    max_turns: int | None
    max_tokens: int | None
    max_cost: float | None


class RunOptions(JobOptions, total=False):
    """Options of a job that is submitted now, which a template does not keep.

    Args:
        environment: Install first what the project in its folder needs (stoker environment), and run in that.
        snapshot: Run in a copy of the project as it is now (what git would commit), whenever and wherever it starts.
        sync: Push the project to the node first, and run in its folder there.
        pull: Fetch this file or folder of the project's folder there when the job is over, also after a failure.
            Repeatable.
        auto_pull: Fetch everything there that differs when the job is over.
        dataset: A file or folder here that is brought to the node once, whichever jobs read it; STOKER_DATA says where
            it lies. Jobs must not write to it.
        project: The project: a folder, or the name of one that was named before. It is remembered.
        nodes: Start it on so many nodes at once, all or none, each with its rank and the address of the first.
        cached: With --snapshot: where a job ended well with the same files, command, environment and data, that is the
            answer, and nothing runs.
        force: Run it all the same.
    """

    environment: bool
    snapshot: bool
    sync: bool
    pull: Sequence[str]
    auto_pull: bool
    dataset: str | None
    project: str | None
    nodes: int | None
    cached: bool
    force: bool


@dataclass(frozen=True)
class Named:
    """What a caller named of a job; what is None is for the settings to say.

    `retry_on` and `wants` are as they are stored; `results` is what its row says of them (`stoker.operations.results`).
    `ranks`: on how many nodes at once. `cached`: a stored result will do.
    """

    spec: Mapping[str, Any]
    on: str | None
    retries: int | None
    retry_on: str | None
    title: str
    results: Mapping[str, Any] | None = None
    wants: Mapping[str, Any] | None = None
    ranks: int = 1
    cached: bool = False


def named_job(argv: Sequence[str], options: JobOptions, title: str) -> Named:
    """The job that options mean. Raises UsageError for one that cannot be read."""
    from stoker.dispatch.retry import retry_words

    refuse_odd(options)
    retries = _quantity(quantities.count, options.get("retries"), "--retries")
    retry_on = retry_words(options.get("retry_on") or ())
    return Named(
        named_spec(argv, options), options.get("on"), retries, retry_on, title, wants=named_wants(options) or None
    )


def named_wants(options: JobOptions) -> dict[str, Any]:
    """What a caller named of the job's place beyond its spec. Raises UsageError for what cannot be read."""
    from stoker.dispatch.where import Condition

    label, data = options.get("apart"), tuple(options.get("data") or ())
    for option, said in (("--apart", () if label is None else (label,)), ("--data", data)):
        if odd := [text for text in said if not _LABEL.fullmatch(text)]:
            raise UsageError(
                f"{option}: {odd[0]!r} is no name", next_step="letters, digits and _ . / : -, such as imagenet"
            )
    wants = {
        "where": [str(Condition.parse(text)) for text in options.get("where") or ()],
        "apart": label,
        "data": dict.fromkeys(data, 1),
        "disk_bytes": _quantity(quantities.size, options.get("disk"), "--disk"),
    }
    return {name: value for name, value in wants.items() if value}


def named_spec(argv: Sequence[str], options: JobOptions) -> dict[str, Any]:
    """What a caller named of a spec, and nothing else: the rest is for the settings of whoever submits it to say.

    Raises UsageError for a quantity that cannot be read, and for a secret that is not a name.
    """
    refuse_odd(options)
    signal, metrics = options.get("checkpoint_signal"), options.get("metric") or {}
    spec: dict[str, Any] = {
        "argv": list(argv) or None,
        "script": options.get("script"),
        "workdir": options.get("workdir"),
        "env": dict(options.get("env") or {}) or None,
        "secret_env": names_only(options.get("secret") or ()) or None,
        "gpus": _quantity(quantities.count, options.get("gpus"), "--gpus"),
        "timeout_s": _quantity(_some_time, options.get("timeout"), "--timeout"),
        "memory_bytes": _quantity(quantities.size, options.get("memory"), "--memory"),
        "cpus": _quantity(_cpus, options.get("cpus"), "--cpus"),
        "lease": _lease(options.get("lease")),
        "grace_s": _quantity(quantities.seconds, options.get("grace"), "--grace"),
        "checkpoint_signal": _signal(signal) if signal else None,
        "checkpoints": _checkpoints(options),
        "split_output": options.get("split_output") or None,
        "metrics": [{"name": name, "regex": regex, "keep": "series"} for name, regex in metrics.items()] or None,
        "preflight": _asked_of_gpus(options) or None,
        "agent": named_agent(options),
        **isolation_spec(
            container=options.get("container"), mount=options.get("mount") or (), shm=options.get("shm"),
            engine=options.get("engine"), image_pull=options.get("image_pull"), network=options.get("network"),
            user=options.get("user"), sandbox=options.get("sandbox"),
        ),
    }  # fmt: skip
    return {key: value for key, value in spec.items() if value is not None}


def _checkpoints(options: JobOptions) -> dict[str, Any] | None:
    """Where checkpoints are and how often they are fetched. Raises UsageError for what does not go together."""
    path, every, ask = options.get("checkpoints"), options.get("checkpoint_every"), options.get("checkpoint_ask")
    if path is None:
        if every is not None or ask:
            option = "--checkpoint-ask" if every is None else "--checkpoint-every"
            raise UsageError(f"{option}: it is not said where checkpoints are", next_step="--checkpoints out/last.pt")
        return None
    if ask and not options.get("checkpoint_signal"):
        raise UsageError("--checkpoint-ask: it is not said by which signal", next_step="--checkpoint-signal USR1")
    # Only a person who wrote `PATH/` means the folder itself.
    if not path.strip("/") or any(sign in path.rstrip("/").rpartition("/")[0] for sign in "*?["):
        raise UsageError(
            f"--checkpoints: {path!r} is no path of checkpoints",
            next_step="a file, a folder, or a pattern in the last part: out/checkpoint-*",
        )
    every_s = CHECKPOINT_EVERY_S if every is None else _some_time(every, "--checkpoint-every")
    return {"path": path, "every_s": every_s, "ask": bool(ask)}


def _asked_of_gpus(options: JobOptions) -> dict[str, Any]:
    asked: dict[str, Any] = {"strict": True} if options.get("strict") else {}
    if (memory := options.get("gpu_memory")) is not None:
        asked["gpu_memory_bytes"] = quantities.size(memory, "--gpu-memory")
    return asked


def one_command(argv: Any, options: JobOptions, command: str) -> None:
    """Raise UsageError unless there is either a command, a list of texts, a script, or an agent."""
    script = options.get("script")
    if isinstance(argv, str):
        raise UsageError(f"the command is a text, {argv!r}, and no shell reads it", next_step="give a list, or script=")
    if not isinstance(argv, Sequence):
        raise UsageError(f"the command {argv!r} is not a list of texts")
    if odd := [word for word in argv if not isinstance(word, str)]:
        raise UsageError(f"the command has {odd[0]!r}, which is not a text")
    if options.get("agent") is not None:
        if script is not None or argv:
            raise UsageError("give either a command, a script or an agent", next_step="what it is to do: --prompt FILE")
        return
    if script is None and not argv:
        raise UsageError(f"there is nothing to {command}", next_step=f"stoker {command} -- python train.py")
    if script is not None and argv:
        raise UsageError("give either a command or a script, not both")


def refuse_odd(options: JobOptions) -> None:
    """Raise UsageError for a value of the wrong kind, as only a caller from Python can give it."""
    hints = get_type_hints(RunOptions)
    for name, value in options.items():
        told, option = str(hints.get(name)), f"--{name.replace('_', '-')}"
        if value is None:
            continue
        if "Mapping" in told:
            fits = isinstance(value, Mapping) and all(isinstance(t, str) for pair in value.items() for t in pair)
            words = "a mapping of names to texts"
        elif "Sequence" in told:
            fits = isinstance(value, Sequence) and not isinstance(value, str) and all(isinstance(t, str) for t in value)
            words = "a list of texts"
        elif "str" in told and "int" not in told and "float" not in told:
            fits, words = isinstance(value, str), "a text"
        else:
            continue
        if not fits:
            raise UsageError(f"{option}: {value!r} is not {words}")


def _some_time(value: float | str, option: str) -> float:
    found = quantities.seconds(value, option)
    if found <= 0:
        raise UsageError(f"{option}: {value!r} is not a duration of more than 0 seconds")
    return found


def _cpus(value: Any, option: str) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value <= MOST:
        raise UsageError(f"{option}: {value!r} is not a number of more than 0 CPUs")
    return float(value)


def _signal(named: str) -> str:
    from ansible_collections.stoker.fleet.plugins.module_utils.forms import SIGNAL

    wanted = named.upper().removeprefix("SIG")
    if wanted not in SIGNAL["enum"]:
        raise UsageError(
            f"--checkpoint-signal: {named!r} is not a signal for this", next_step=f"one of {', '.join(SIGNAL['enum'])}"
        )
    return wanted


def names_only(names: Sequence[str]) -> list[str]:
    """The names of secrets. Raises UsageError for one that brings its value."""
    for name in names:
        if "=" in name:
            raise UsageError(
                f"--secret takes a name, not a value (others would see it in ps): {name.split('=')[0]}=...",
                next_step=f"export {name.split('=')[0]}, then --secret {name.split('=')[0]}",
            )
    return list(names)


def _quantity(read: Any, value: Any, option: str) -> Any:
    return read(value, option) if value is not None else None


def _lease(said: str | None) -> dict[str, Any] | None:
    if said is None:
        return None
    from stoker.dispatch.leases import read_words

    return read_words(said, "--lease")
