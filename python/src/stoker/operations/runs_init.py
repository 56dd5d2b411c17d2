"""The first stoker-metrics.yml."""

from __future__ import annotations

from pathlib import Path

from stoker.analysis.answers import SchemaProposed
from stoker.config import working_folder
from stoker.errors import StokerError, UsageError
from stoker.operations.registry import operation
from stoker.operations.runs import Folder, answered, read_run
from stoker.operations.session import Session


@operation("runs", "runs init", "operate")
def init(
    session: Session, path: str = ".", *, from_run: str | None = None, template: str | None = None, show: bool = False,
    folder: Folder = None,
) -> SchemaProposed:  # fmt: skip
    """Write a first stoker-metrics.yml: what metrics are called, which way is better, how values are shown.

    From the metrics of a run, as far as their names, their writer and their values tell, or from a template:
    huggingface, lightning, keras, ultralytics, nanogpt or rl. A file that is there is never written over.

    Args:
        path: The folder to write it into; it counts for all runs below.
        from_run: A file, a folder that holds one run, the id or name of a run in --folder, or a job (JOB, JOB:FILE).
        template: The trainer that wrote the metrics.
        show: Only show what would be written.
        folder: Where ids and names are looked up; by default here.
    """
    from stoker.analysis import schema, templates

    if (from_run is None) == (template is None):
        raise UsageError(
            "say where it comes from",
            next_step=f"--from-run RUN, or --template with one of {', '.join(templates.TEMPLATES)}",
        )
    with answered():
        text = (
            templates.proposed(read_run(session, from_run, folder)) if from_run else templates.template(str(template))
        )
    target = working_folder() / Path(path).expanduser() / schema.FILE_NAME
    if show:
        return SchemaProposed(text, None)
    try:
        with target.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise UsageError(f"{target} is there already", next_step="--show shows what would be written") from None
    except FileNotFoundError:
        raise UsageError(f"there is no folder {target.parent}") from None
    except OSError as problem:
        raise StokerError(f"{target} cannot be written: {problem.strerror}") from problem
    return SchemaProposed(text, str(target))
