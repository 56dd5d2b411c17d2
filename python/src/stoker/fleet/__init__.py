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

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from stoker.fleet import areas
from stoker.fleet.bound import Namespace
from stoker.fleet.job import Job
from stoker.operations import plugin_loading
from stoker.operations.plugin_checks import PluginError
from stoker.operations.session import Session


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
        self.jobs = areas.Jobs(self._session)
        self.checkpoints = areas.Checkpoints(self._session)
        self.hub = areas.Hub(self._session)
        self.dead = areas.Dead(self._session)
        self.agents = areas.Agents(self._session)
        self.templates = areas.Templates(self._session)
        self.nodes = areas.Nodes(self._session)
        self.telemetry = areas.Telemetry(self._session)
        self.sync = areas.Sync(self._session)
        self.environments = areas.Environments(self._session)
        self.containers = areas.Containers(self._session)
        self.services = areas.Services(self._session)
        self.runs = areas.Runs(self._session)
        self.dispatch = areas.Dispatch(self._session)
        self.kubernetes = areas.Kubernetes(self._session)
        self.vast = areas.Vast(self._session)
        self.queue = areas.Queue(self._session)
        self.workflows = areas.Workflows(self._session)
        self.events = areas.Events(self._session)
        self.memory = areas.Memory(self._session)
        self.threads = areas.Threads(self._session)
        self.sessions = areas.Sessions(self._session)
        self.store = areas.StoreFiles(self._session)
        self.access = areas.Access(self._session)
        self.config = areas.Settings(self._session)
        self.notify = areas.Notify(self._session)
        self.inbox = areas.Inbox(self._session)
        self.plugins = areas.Plugins(self._session)
        self.skills = areas.Skills(self._session)
        self.updater = areas.Updater(self._session)
        self.setup = areas.Setup(self._session)

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


__all__: Sequence[str] = ["Fleet", "Job", "Namespace"]
