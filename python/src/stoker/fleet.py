"""The Python API: `Fleet`, with a namespace for each area of operations, and `Job`, a handle on one job.

    from stoker import Fleet

    fleet = Fleet("inventory.yml")
    job = fleet.jobs.run(["python", "train.py"], on="dgx", gpus=1)
    job.wait()
    print(job.state, job.exit_code, job.metrics["loss"].last)

Every method is an operation of `stoker.operations`, without the session that the fleet holds: same names, same
arguments, same answers as the command line. They raise `stoker.errors.StokerError`.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, overload

from stoker.errors import UsageError
from stoker.operations import (
    access,
    agents,
    alerts,
    benchmark,
    checkpoints,
    clean,
    compare,
    container_images,
    containers,
    dead,
    diag,
    disk,
    dispatch,
    dispatchers,
    drain,
    environments,
    events,
    gpus,
    hub,
    inbox,
    jobs,
    kube,
    kube_scale,
    logs,
    membership,
    memory,
    nodes,
    notify,
    notify_listen,
    plugin_loading,
    plugins,
    policy,
    queue,
    registry,
    runs,
    runs_figures,
    runs_init,
    runs_machine,
    runs_query,
    runs_report,
    runs_verdicts,
    runs_watch,
    services,
    sessions,
    settings,
    setup,
    signals,
    skills,
    stats,
    stores,
    submit,
    sync,
    telemetry,
    templates,
    threads,
    top,
    updates,
    values,
    vast,
    vast_changes,
    vast_selftest,
    watch,
    workflows,
)
from stoker.operations.plugin_checks import PluginError
from stoker.operations.session import Session

P = ParamSpec("P")
R = TypeVar("R")


class bound(Generic[P, R]):  # noqa: N801  used like `property`
    """A method of a namespace, made from an operation: its type is the operation's, without the session."""

    def __init__(self, function: Callable[Concatenate[Session, P], R]) -> None:
        self.function = function
        self.__doc__ = function.__doc__

    @overload
    def __get__(self, namespace: None, owner: type) -> bound[P, R]: ...
    @overload
    def __get__(self, namespace: Namespace, owner: type) -> Callable[P, R]: ...
    def __get__(self, namespace: Namespace | None, owner: type) -> bound[P, R] | Callable[P, R]:
        if namespace is None:
            return self
        return _without_session(self.function, namespace._session)


class bound_job(Generic[P]):  # noqa: N801
    """The same for an operation that answers with a new job: the method returns its handle."""

    def __init__(self, function: Callable[Concatenate[Session, P], values.Submitted]) -> None:
        self.function = function
        self.__doc__ = function.__doc__

    @overload
    def __get__(self, namespace: None, owner: type) -> bound_job[P]: ...
    @overload
    def __get__(self, namespace: Namespace, owner: type) -> Callable[P, Job]: ...
    def __get__(self, namespace: Namespace | None, owner: type) -> bound_job[P] | Callable[P, Job]:
        if namespace is None:
            return self
        session = namespace._session
        submit_job = _without_session(self.function, session)

        @functools.wraps(submit_job)
        def call(*args: P.args, **kwargs: P.kwargs) -> Job:
            return Job(session, submit_job(*args, **kwargs).job)

        return call


def _without_session(function: Callable[Concatenate[Session, P], R], session: Session) -> Callable[P, R]:
    asked = registry.find(function)
    signature = asked.signature()

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        policy.refuse_off(session, asked)
        # Shared options (Unpack) would take any word without a murmur.
        given = signature.bind(*args, **kwargs).arguments
        for name, given_value in given.items():
            taken = signature.parameters[name]
            for value in given_value if taken.kind is taken.VAR_POSITIONAL else (given_value,):
                if taken.annotation is str and not isinstance(value, str | os.PathLike):
                    raise UsageError(f"{name}: {value!r} is not a text")
        return function(session, *args, **kwargs)

    call.__signature__ = signature  # type: ignore[attr-defined]
    return call


class Namespace:
    """One area of operations. Operations of plug-ins are found by name, too."""

    area = ""

    def __init__(self, session: Session) -> None:
        self._session = session

    def __getattr__(self, name: str) -> Callable[..., Any]:
        for operation in registry.operations():
            if operation.name == f"{self.area}.{name}":
                return _without_session(operation.function, self._session)
        raise AttributeError(f"there is no operation {self.area}.{name}")


class Jobs(Namespace):
    """`fleet.jobs`: submit, look at, stop and clear away jobs."""

    area = "jobs"
    run = bound_job(submit.run)
    retry = bound_job(submit.retry)
    list = bound(jobs.list_jobs)
    get = bound(jobs.get)
    wait = bound(jobs.wait)
    stop = bound(jobs.stop)
    adopt = bound(jobs.adopt)
    clean = bound(clean.clean)
    logs = bound(logs.logs)
    watch = bound(watch.watch)
    signal = bound(signals.signal)
    stats = bound(stats.stats)
    compare = bound(compare.compare)

    def __getitem__(self, job: str) -> Job:
        """A handle on the job whose id is, or begins with, `job`. Raises NotFound."""
        return Job(self._session, jobs.get(self._session, job).job)


class Checkpoints(Namespace):
    """`fleet.checkpoints`: what is kept of the checkpoints of jobs."""

    area = "checkpoints"
    list = bound(checkpoints.list_checkpoints)
    pull = bound(checkpoints.pull_checkpoint)


class Dead(Namespace):
    """`fleet.dead`: jobs that were given up."""

    area = "dead"
    list = bound(dead.list_dead)
    retry = bound(dead.revive)


class Agents(Namespace):
    """`fleet.agents`: programs that are given a prompt, held to limits."""

    area = "agents"
    run = bound(agents.run)
    list = bound(agents.list_agents)


class Templates(Namespace):
    """`fleet.templates`: saved commands with parameters, for everybody who uses the same store."""

    area = "templates"
    save = bound(templates.save)
    list = bound(templates.list_templates)
    get = bound(templates.get)
    run = bound_job(templates.run)
    delete = bound(templates.delete)


class Nodes(Namespace):
    """`fleet.nodes`: how the nodes are, and a command on them."""

    area = "nodes"
    status = bound(nodes.status)
    list = bound(nodes.list_nodes)
    release_gpu = bound(gpus.release)
    gpus = bound(gpus.list_gpus)
    benchmark = bound(benchmark.benchmark)
    disks = bound(disk.disks)
    execute = bound(nodes.execute)
    diag = bound(diag.diag)
    members = bound(membership.members)
    add = bound(membership.add)
    approve = bound(membership.approve)
    resume = bound(drain.resume)
    drain = bound(drain.drain)
    remove = bound(membership.remove)


class Telemetry(Namespace):
    """`fleet.telemetry`: what nodes measured, live and from the store, and what is wrong with them."""

    area = "telemetry"
    samples = bound(telemetry.telemetry)
    top = bound(top.top)
    squelch = bound(alerts.squelch)
    alerts = bound(alerts.alerts)


class Sync(Namespace):
    """`fleet.sync`: the files of a project to a node, and results back."""

    area = "sync"
    push = bound(sync.push)
    pull = bound(sync.pull)
    diff = bound(sync.diff)


class Hub(Namespace):
    """`fleet.hub`: models and data of the Hugging Face hub, fetched by the nodes themselves."""

    area = "hub"
    fetch = bound_job(hub.fetch)


class Environments(Namespace):
    """`fleet.environments`: what a project needs, installed once on a node."""

    area = "environments"
    ensure = bound(environments.environment)
    list = bound(environments.environments)


class Updater(Namespace):
    """`fleet.updater`: Stoker's own versions, here and on the nodes."""

    area = "updater"
    check = bound(updates.check)
    nodes = bound(updates.nodes)


class Containers(Namespace):
    """`fleet.containers`: containers of the nodes, by Podman or Docker."""

    area = "containers"
    list = bound(containers.list_containers)
    logs = bound(containers.logs)
    start = bound(containers.start)
    stop = bound(containers.stop)
    create = bound(containers.create)
    check_updates = bound(container_images.check_updates)
    upgrade = bound(container_images.upgrade)
    install = bound(container_images.install)


class Services(Namespace):
    """`fleet.services`: commands with a health endpoint, kept running on a node."""

    area = "services"
    start = bound(services.start)
    stop = bound(services.stop)
    restart = bound(services.restart)
    status = bound(services.status)
    logs = bound(services.logs)


class Runs(Namespace):
    """`fleet.runs`: what trainings wrote into a folder."""

    area = "runs"
    list = bound(runs.list_runs)
    find = bound(runs.find)
    latest = bound(runs.latest)
    summary = bound(runs.summary)
    keys = bound(runs.keys)
    config = bound(runs.config)
    notes = bound(runs.notes)
    history = bound(runs_figures.history)
    chart = bound(runs_figures.chart)
    stats = bound(runs_figures.stats)
    stability = bound(runs_figures.stability)
    best = bound(runs_figures.best)
    compare = bound(runs_figures.compare)
    query = bound(runs_query.query)
    cost = bound(runs_query.cost)
    why = bound(runs_query.why)
    report = bound(runs_report.report)
    comment = bound(runs_report.comment)
    init = bound(runs_init.init)
    watch = bound(runs_watch.watch)
    machine = bound(runs_machine.machine)
    check = bound(runs_verdicts.check)
    eta = bound(runs_verdicts.eta)
    seeds = bound(runs_verdicts.seeds)


class Dispatch(Namespace):
    """`fleet.dispatch`: rounds."""

    area = "dispatch"
    rounds = bound(dispatch.dispatch)
    list = bound(dispatchers.dispatchers)


class Kubernetes(Namespace):
    """`fleet.kubernetes`: clusters of Kubernetes."""

    area = "kubernetes"
    contexts = bound(kube.contexts)
    nodes = bound(kube.nodes)
    scale = bound(kube_scale.scale)


class Vast(Namespace):
    """`fleet.vast`: rented machines."""

    area = "vast"
    offers = bound(vast.list_offers)
    list = bound(vast.list_instances)
    cost = bound(vast.cost_report)
    rent = bound(vast_changes.rent)
    stop = bound(vast_changes.stop)
    start = bound(vast_changes.start)
    destroy = bound(vast_changes.destroy)
    reap = bound(vast_changes.reap)
    selftest = bound(vast_selftest.selftest)


class Queue(Namespace):
    """`fleet.queue`: lines of jobs that start in order."""

    area = "queue"
    add = bound(queue.add)
    list = bound(queue.list_queues)
    start = bound(queue.start)
    change = bound(queue.change)
    pause = bound(queue.pause)
    resume = bound(queue.resume)
    move = bound(queue.move)
    clear = bound(queue.clear)


class Workflows(Namespace):
    """`fleet.workflows`: jobs that depend on each other, from one file."""

    area = "workflows"
    run = bound(workflows.run)
    submit = bound(workflows.submit)
    validate = bound(workflows.validate)
    list = bound(workflows.list_workflows)
    get = bound(workflows.status)
    draw = bound(workflows.draw)
    watch = bound(workflows.watch)
    cancel = bound(workflows.cancel)
    resume = bound(workflows.resume)
    clear = bound(workflows.clear)


class Events(Namespace):
    """`fleet.events`: the history of the store."""

    area = "events"
    read = bound(events.events)


class Memory(Namespace):
    """`fleet.memory`: facts of a project, a search over all that is remembered, where a project stands."""

    area = "memory"
    whereami = bound(memory.whereami)
    set = bound(memory.set)
    list = bound(memory.list_facts)
    search = bound(memory.search)
    forget = bound(memory.forget)


class Threads(Namespace):
    """`fleet.threads`: lines of work with their thoughts."""

    area = "threads"
    start = bound(threads.start)
    think = bound(threads.think)
    handoff = bound(threads.handoff)
    end = bound(threads.end)
    list = bound(threads.list_threads)
    get = bound(threads.get)


class Sessions(Namespace):
    """`fleet.sessions`: assistants that are connected, and messages between them."""

    area = "sessions"
    list = bound(sessions.list_sessions)
    send = bound(sessions.send)
    inbox = bound(sessions.inbox)
    ack = bound(sessions.ack)


class Notify(Namespace):
    """`fleet.notify`: messages to people."""

    area = "notify"
    list = bound(notify.list_targets)
    send = bound(notify.send)
    test = bound(notify.test)
    listen = bound(notify_listen.listen)


class Inbox(Namespace):
    """`fleet.inbox`: messages that stay in the store until somebody has read them."""

    area = "inbox"
    list = bound(inbox.list_inbox)
    read = bound(inbox.read)
    archive = bound(inbox.archive)


class StoreFiles(Namespace):
    """`fleet.store`: the store as a whole."""

    area = "store"
    backup = bound(stores.backup)
    restore = bound(stores.restore)
    copy = bound(stores.copy)
    check = bound(stores.check)


class Access(Namespace):
    """`fleet.access`: tokens of those who ask over the network, and what was asked."""

    area = "access"
    add_token = bound(access.add_token)
    list_tokens = bound(access.list_tokens)
    remove_token = bound(access.remove_token)
    audit = bound(access.audit)


class Settings(Namespace):
    """`fleet.config`: the settings of stoker.yml."""

    area = "config"
    get = bound(settings.get)
    change = bound(settings.change)
    check = bound(settings.check)
    diff = bound(settings.diff)


class Plugins(Namespace):
    """`fleet.plugins`: which plugins there are. Those that are not built in are areas of their own: `fleet.NAME`."""

    area = "plugins"
    list = bound(plugins.list_plugins)


class Skills(Namespace):
    """`fleet.skills`: instructions for assistants."""

    area = "skills"
    list = bound(skills.list_skills)
    get = bound(skills.get)
    check = bound(skills.check)


class Setup(Namespace):
    """`fleet.setup`: first files."""

    area = "setup"
    init = bound(setup.init)


def _of_plugin(session: Session, name: str) -> Namespace:
    """The namespace of a plugin."""
    one = plugin_loading.load(session.config).installed.get(name)
    if one is None:
        raise AttributeError(f"there is no area and no plugin {name}")
    if one.failed is not None:
        raise PluginError(f"the plugin {name} ({one.package}) failed: {one.failed}", next_step="fleet.plugins.list()")
    if not one.loaded:
        raise PluginError(f"the plugin {name} is off", next_step=f"stoker.yml: plugins: {{{name}: {{enabled: true}}}}")
    found = Namespace(session)
    found.area = name
    return found


class Job:
    """One job. What it says is what was last heard; `refresh` and `wait` ask."""

    def __init__(self, session: Session, view: values.Job) -> None:
        self._session = session
        self.view = view

    def __repr__(self) -> str:
        return f"<Job {self.id} {self.state}>"

    @property
    def id(self) -> str:
        """The id, unique in the store."""
        return self.view.id

    @property
    def state(self) -> str:
        """queued, starting, running, succeeded, failed, cancelled, lost or dead."""
        return self.view.state

    @property
    def finished(self) -> bool:
        """Whether it is over for good."""
        return self.view.finished

    @property
    def exit_code(self) -> int | None:
        """The command's exit code; None while it runs, or when a signal ended it."""
        return self.view.exit_code

    @property
    def metrics(self) -> Mapping[str, values.Metric]:
        """The numbers found in the log, by name."""
        return self.view.metrics

    def refresh(self, *, live: bool = True) -> Job:
        """Ask the node (`live`), or read the store again; returns itself."""
        self.view = jobs.get(self._session, self.id, live=live).job
        return self

    def wait(self, timeout: float | None = None) -> Job:
        """Wait until it is over, at most `timeout` seconds (then TimeoutError: the job goes on); returns itself."""
        ended = jobs.wait(self._session, self.id, timeout=timeout)
        self.view = ended.job
        if ended.timed_out:
            raise TimeoutError(f"{self.id} is still {self.state} after {timeout} s")
        return self

    def stop(self, grace: float | None = None) -> Job:
        """Stop it; returns itself."""
        self.view = jobs.stop(self._session, self.id, grace=grace).stopped[0].job
        return self

    def retry(self, env: Mapping[str, str] | None = None) -> Job:
        """Submit it again; the new job."""
        return Job(self._session, submit.retry(self._session, self.id, env=env).job)

    def logs(self) -> str:
        """The whole log of the newest attempt as text."""
        return logs.logs(self._session, self.id, all=True).text()

    def follow(self) -> Iterator[bytes]:
        """The log's bytes as they come, until the job is over."""
        for piece in logs.logs(self._session, self.id, follow=True):
            yield piece.data


class Fleet:
    """The machines of an inventory and the jobs on them. Opens what it needs when it needs it; `with` closes it.

    `inventory`, `config`: what to use instead of what is found (see `stoker.config`). `store_url`: a database URL.
    """

    def __init__(
        self, inventory: str | Path | None = None, *, store_url: str | None = None, config: str | Path | None = None
    ) -> None:
        self._session = Session(
            Path(inventory) if inventory is not None else None,
            store_url=store_url,
            config_file=Path(config) if config is not None else None,
        )
        self.jobs = Jobs(self._session)
        self.checkpoints = Checkpoints(self._session)
        self.hub = Hub(self._session)
        self.dead = Dead(self._session)
        self.agents = Agents(self._session)
        self.templates = Templates(self._session)
        self.nodes = Nodes(self._session)
        self.telemetry = Telemetry(self._session)
        self.sync = Sync(self._session)
        self.environments = Environments(self._session)
        self.containers = Containers(self._session)
        self.services = Services(self._session)
        self.runs = Runs(self._session)
        self.dispatch = Dispatch(self._session)
        self.kubernetes = Kubernetes(self._session)
        self.vast = Vast(self._session)
        self.queue = Queue(self._session)
        self.workflows = Workflows(self._session)
        self.events = Events(self._session)
        self.memory = Memory(self._session)
        self.threads = Threads(self._session)
        self.sessions = Sessions(self._session)
        self.store = StoreFiles(self._session)
        self.access = Access(self._session)
        self.config = Settings(self._session)
        self.notify = Notify(self._session)
        self.inbox = Inbox(self._session)
        self.plugins = Plugins(self._session)
        self.skills = Skills(self._session)
        self.updater = Updater(self._session)
        self.setup = Setup(self._session)

    def __getattr__(self, name: str) -> Namespace:
        """The operations of a plugin that is not built in. Raises PluginError where it has failed or is off."""
        if name.startswith("_"):
            raise AttributeError(name)
        return _of_plugin(self._session, name)

    def __enter__(self) -> Fleet:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the store."""
        self._session.close()


__all__: Sequence[str] = ["Fleet", "Job"]
