"""Which renderer shows which kind of answer. As names: a command imports what it asks and shows, and nothing else."""

from __future__ import annotations

import importlib
from typing import Any

# Module of the kind: kind: renderer, a function of a module of this package.
_VALUES = {
    "stoker.operations.values": {
        "JobList": "render_jobs.job_list",
        "JobDetail": "render_jobs.job_detail",
        "Submitted": "render_jobs.submitted",
        "Ended": "render_jobs.ended",
        "StopList": "render_jobs.stop_list",
        "Signalled": "render_jobs.signalled",
        "CleanReport": "render_jobs.clean_report",
        "AdoptReport": "render_jobs.adopt_report",
        "ExecReport": "render_nodes.exec_report",
        "Written": "render_nodes.written",
    },
    "stoker.operations.agents": {
        "AgentList": "render_agents.agent_list",
        "AgentTasks": "render_agents.tasks",
    },
    "stoker.operations.checkpoints": {
        "CheckpointList": "render_checkpoints.checkpoint_list",
        "PullReport": "render_checkpoints.pull_report",
    },
    "stoker.operations.dead": {
        "DeadLetters": "render_dead.dead_list",
        "Revived": "render_dead.revived",
    },
    "stoker.operations.template": {
        "TemplateSaved": "render_templates.saved",
        "TemplateList": "render_templates.template_list",
        "TemplateDetail": "render_templates.template_detail",
        "TemplateDeleted": "render_templates.deleted",
    },
    "stoker.operations.stats": {
        "JobStats": "render_history.job_stats",
    },
    "stoker.operations.compare": {
        "Comparison": "render_history.comparison",
    },
    "stoker.operations.node_values": {
        "Status": "render_nodes.status",
        "NodeList": "render_nodes.node_list",
        "GpuList": "render_gpus.gpu_list",
    },
    "stoker.operations.members": {
        "MemberList": "render_members.member_list",
        "MemberChange": "render_members.member_change",
    },
    "stoker.operations.gpus": {
        "GpuReleased": "render_gpus.released",
    },
    "stoker.operations.kube": {
        "KubeContexts": "render_kube.contexts",
        "KubeNodes": "render_kube.nodes",
    },
    "stoker.operations.kube_scale": {
        "KubeScaled": "render_kube.scaled",
    },
    "stoker.operations.rented_values": {
        "OfferList": "render_vast.offer_list",
        "InstanceList": "render_vast.instance_list",
        "InstanceChange": "render_vast.instance_change",
        "Reaped": "render_vast.reaped",
        "CostReport": "render_vast.cost_report",
    },
    "stoker.operations.vast_selftest": {
        "SelfTest": "render_vast.self_test",
    },
    "stoker.operations.queue": {
        "QueueList": "render_queue.queue_list",
        "Queued": "render_queue.queued",
        "QueueChange": "render_queue.queue_change",
    },
    "stoker.operations.dispatchers": {
        "DispatcherList": "render_dispatch.dispatcher_list",
    },
    "stoker.operations.workflow_values": {
        "WorkflowCheck": "render_workflows.check",
        "WorkflowSubmitted": "render_workflows.submitted",
        "WorkflowList": "render_workflows.workflow_list",
        "WorkflowDetail": "render_workflows.detail",
        "WorkflowChange": "render_workflows.change",
        "WorkflowDrawing": "render_workflows.drawing",
        "WorkflowsCleared": "render_workflows.cleared",
    },
    "stoker.operations.memory_values": {
        "ThreadList": "render_memory.thread_list",
        "ThreadDetail": "render_memory.thread_detail",
        "ThreadChange": "render_memory.thread_change",
        "ThoughtAdded": "render_memory.thought_added",
        "FactSet": "render_memory.fact_set",
        "FactList": "render_memory.fact_list",
        "FactForgotten": "render_memory.fact_forgotten",
        "FoundList": "render_memory.found_list",
        "Whereami": "render_memory.whereami",
    },
    "stoker.operations.sessions": {
        "SessionList": "render_sessions.session_list",
        "MessagesSent": "render_sessions.sent",
        "Inbox": "render_sessions.inbox",
        "MessagesAcked": "render_sessions.acked",
    },
    "stoker.operations.stores": {
        "StoreCopy": "render_store.store_copy",
        "StoreCheck": "render_store.store_check",
    },
    "stoker.operations.access": {
        "TokenAdded": "render_access.token_added",
        "TokenList": "render_access.token_list",
        "TokenRemoved": "render_access.token_removed",
        "Audit": "render_access.audit",
    },
    "stoker.operations.diag": {
        "DiagBundle": "render_diag.bundle",
    },
    "stoker.operations.alerts": {
        "AlertList": "render_alerts.alert_list",
        "SquelchChange": "render_alerts.squelch_change",
    },
    "stoker.operations.notify": {
        "TargetList": "render_notify.target_list",
        "NoticesSent": "render_notify.sent",
        "TargetTested": "render_notify.tested",
    },
    "stoker.operations.inbox": {
        "Inbox": "render_notify.inbox",
        "MailRead": "render_notify.mails",
        "MailArchived": "render_notify.archived",
    },
    "stoker.operations.settings": {
        "SettingList": "render_settings.setting_list",
        "SettingChange": "render_settings.change",
        "SettingDifferences": "render_settings.differences",
    },
    "stoker.operations.plugins": {
        "PluginList": "render_plugins.plugin_list",
    },
    "stoker.operations.skills": {
        "SkillList": "render_skills.skill_list",
        "SkillCheck": "render_skills.skill_check",
    },
    "stoker.operations.skill_files": {
        "Skill": "render_skills.skill",
    },
    "stoker.operations.updates": {
        "UpdateCheck": "render_updates.check",
        "UpdateReport": "render_updates.report",
    },
    "stoker.operations.benchmark": {
        "BenchmarkReport": "render_benchmark.report",
    },
    "stoker.operations.environments": {
        "EnvironmentReport": "render_environments.report",
        "EnvironmentList": "render_environments.listing",
    },
    "stoker.operations.sync": {
        "SyncReport": "render_sync.sync_report",
    },
    "stoker.operations.disk": {
        "DiskReport": "render_disk.disk_report",
    },
    "stoker.operations.containers": {
        "ContainerList": "render_containers.container_list",
        "ContainerChange": "render_containers.container_change",
        "ContainerLog": "render_containers.container_log",
    },
    "stoker.operations.container_images": {
        "UpdateList": "render_containers.update_list",
        "Installed": "render_containers.installed",
    },
    "stoker.operations.services": {
        "ServiceList": "render_services.service_list",
        "ServiceChange": "render_services.service_change",
    },
    "stoker.analysis.values": {
        "RunList": "render_runs.run_list",
        "RunKeys": "render_runs.keys",
        "RunConfig": "render_runs.config",
        "RunNotes": "render_runs.notes",
        "RunHistory": "render_runs.history",
        "RunChart": "render_runs.chart",
        "RunStats": "render_runs.stats",
        "RunStability": "render_runs.stability",
        "Ranking": "render_runs.ranking",
        "RunComparison": "render_runs.comparison",
    },
    "stoker.analysis.summaries": {
        "RunSummary": "render_runs.summary",
    },
    "stoker.analysis.findings": {
        "RunChecks": "render_verdicts.checks",
    },
    "stoker.analysis.machine_values": {
        "RunMachine": "render_machine.machine",
    },
    "stoker.analysis.forecasts": {
        "RunForecast": "render_forecasts.forecast",
        "SeedReport": "render_forecasts.seeds",
    },
    "stoker.analysis.answers": {
        "RunQuery": "render_answers.query",
        "ReportWritten": "render_answers.report",
        "SchemaProposed": "render_answers.schema",
        "RunCosts": "render_answers.costs",
        "RunCauses": "render_answers.causes",
        "RunComment": "render_answers.comment",
    },
}
# The same for answers that come piece by piece; their renderers return the exit code.
_STREAMS = {
    "stoker.operations.logs": {"LogStream": "render_streams.log"},
    "stoker.operations.watch": {"WatchStream": "render_streams.watch"},
    "stoker.operations.dispatch": {"RoundStream": "render_streams.rounds"},
    "stoker.operations.loop": {"DispatchLoop": "render_dispatch.loop"},
    "stoker.operations.queue": {"QueueStream": "render_queue.queue_stream"},
    "stoker.operations.drain": {"DrainStream": "render_members.drain_stream"},
    "stoker.operations.workflows": {"WorkflowStream": "render_workflows.stream"},
    "stoker.operations.notify_listen": {"ListenStream": "render_notify.listening"},
    "stoker.operations.events": {"EventStream": "render_streams.events"},
    "stoker.operations.telemetry": {"SampleStream": "render_telemetry.stream"},
    "stoker.operations.runs_watch": {"NewsStream": "render_answers.news"},
    "stoker.operations.top": {"TopStream": "render_top.show"},
}
# Of what is not Stoker's own.
_OF_PLUGINS = "render_plugins.answer"


def is_stream(value: Any) -> bool:
    """Whether an answer comes piece by piece."""
    return type(value).__name__ in _STREAMS.get(type(value).__module__, {})


def is_kind_of_stream(kind: type) -> bool:
    """The same of what an operation is declared to answer."""
    return kind.__name__ in _STREAMS.get(kind.__module__, {})


def renderer(value: Any) -> Any:
    """The function that shows this kind of answer."""
    kind, module = type(value).__name__, type(value).__module__
    named = (_STREAMS if is_stream(value) else _VALUES).get(module, {}).get(kind, _OF_PLUGINS)
    where, _, function = named.partition(".")
    return getattr(importlib.import_module(f"stoker.cli.{where}"), function)


def all_kinds() -> list[tuple[str, str]]:
    """Each kind and its renderer, by name."""
    return [
        (f"{module}.{kind}", renderer)
        for table in (_VALUES, _STREAMS)
        for module, kinds in table.items()
        for kind, renderer in kinds.items()
    ]
