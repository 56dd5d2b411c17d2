"""The namespaces: one for each area of operations, with a typed method for each operation."""

from __future__ import annotations

from stoker.fleet.bound import Namespace, bound, bound_job
from stoker.fleet.job import Job
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
    plugins,
    queue,
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
    vast,
    vast_changes,
    vast_selftest,
    watch,
    workflows,
)


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
