"""The command line made from the operations: parameters become arguments and options, docstrings become help."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from cyclopts import App, Group, Parameter

from stoker import __version__
from stoker.cli import serve
from stoker.cli.out import Form
from stoker.errors import NotFound, StokerError, UsageError
from stoker.operations.registry import AfterDashes, Operation, Short, TextFile, commands, group_help, operations

EVERYWHERE = Group("With every command", sort_key=100)
ANY_COMMAND = {
    "inventory": Annotated[
        Path | None,
        Parameter(
            name=["--inventory", "-i"], group=EVERYWHERE, help="The inventory to use. Found by itself: see stoker init."
        ),
    ],
    "config": Annotated[Path | None, Parameter(name="--config", group=EVERYWHERE, help="The stoker.yml to use.")],
    "json": Annotated[
        bool, Parameter(name="--json", group=EVERYWHERE, help="Print the answer as JSON, and nothing else.")
    ],
    "ascii": Annotated[bool, Parameter(name="--ascii", group=EVERYWHERE, help="Print ASCII characters only.")],
    "quiet": Annotated[
        bool,
        Parameter(name=["--quiet", "-q"], group=EVERYWHERE, help="Say nothing beside the answer but what went wrong."),
    ],
    "verbose": Annotated[
        bool,
        Parameter(
            name=["--verbose", "-v"],
            group=EVERYWHERE,
            help="Say which settings, inventory and store are used, how long it took, and behind an error its causes.",
        ),
    ],
}
FOLLOW = Annotated[
    bool, Parameter(name=["--follow", "-f"], help="Show the log as it comes. Ctrl-C leaves the job running.")
]
# Where a word too many is the command itself.
_OF_A_NODE = ("container create", "container upgrade", "service start")
_WITH_COMMAND = ("run", "exec", "template save", "queue add", *_OF_A_NODE)
FORMAT = Annotated[
    Literal["text", "md", "csv"],
    Parameter(name="--format", help="Tables for a terminal, as Markdown (GitHub), or as CSV with nothing else."),
]
RAW = Annotated[bool, Parameter(name="--raw", help="Print the log's bytes as they are; not on a terminal.")]


@dataclass(frozen=True)
class Call:
    """One command as it was typed: which operation, with what, and how to show the answer."""

    operation: Operation
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    inventory: Path | None
    config: Path | None
    json: bool
    ascii: bool
    follow: bool
    raw: bool
    form: Form = "text"
    quiet: bool = False
    verbose: bool = False

    @property
    def given(self) -> Mapping[str, Any]:
        """What was given, by name."""
        return self.operation.signature().bind_partial(*self.args, **self.kwargs).arguments


def build(
    run: Callable[[Call], int], command: Sequence[str] | None, named: str | None = None,
    off: Collection[str] = (),
) -> App:  # fmt: skip
    """The application: `run` gets what was typed; `command` is what stood after `--`, None when there was no `--`.

    With a known command `named` it knows that one, and may lack others. `off`: plugins that are not offered.
    """
    app = App(
        name="stoker",
        version=__version__,
        help="Jobs on every machine of an Ansible inventory, and true answers about them.",
        default_parameter=Parameter(negative=(), show_default=False),
        result_action="return_value",
        help_format="plaintext",
        end_of_options_delimiter="--",
        suppress_keyboard_interrupt=False,  # `main` does
    )
    groups: dict[str, App] = {}
    for op in operations(named) if named != serve.COMMAND else ():
        if op.area in off:
            continue
        group, _, name = op.command.rpartition(" ")
        if group and group not in groups:
            groups[group] = App(name=group, help=group_help(group))
            app.command(groups[group])
        (groups[group] if group else app).command(_function(op, run, command), name=name, usage=_usage(op))
    serve.add_to(app, ANY_COMMAND)
    app.command(_completion(app), name="completion")
    return app


def _function(op: Operation, run: Callable[[Call], int], command: Sequence[str] | None) -> Callable[..., int]:
    """A function with the operation's parameters as cyclopts has to see them."""
    public = list(op.signature().parameters.values())
    shown = [_parameter(p) for p in public if not _has(p, AfterDashes)]
    shown += [_option("follow", FOLLOW)] if op.follow else []
    shown += [_option("raw", RAW)] if op.follow or op.command == "logs" else []
    shown += [_option("format", FORMAT, "text")] if op.area == "runs" else []
    # `stoker init --inventory` means something of its own.
    common = {name: hint for name, hint in ANY_COMMAND.items() if name not in {p.name for p in shown}}
    shown += [_option(name, hint, None if name in ("inventory", "config") else False) for name, hint in common.items()]

    def called(*args: Any, **kwargs: Any) -> int:
        bound = signature.bind(*args, **kwargs)
        typed = bound.arguments
        positional, keywords = _values(public, typed, command, op)
        asked = {name: typed[name] for name in common if name in typed}
        return run(
            Call(
                op, positional, keywords, asked.get("inventory"), asked.get("config"), asked.get("json", False),
                asked.get("ascii", False), op.follow and typed.get("follow", False), typed.get("raw", False),
                typed.get("format", "text"), asked.get("quiet", False), asked.get("verbose", False),
            )
        )  # fmt: skip

    signature = inspect.Signature(shown)
    called.__name__ = op.method
    called.__doc__ = _help(op)
    called.__signature__ = signature  # type: ignore[attr-defined]
    called.__annotations__ = {p.name: p.annotation for p in shown}
    return called


def _parameter(parameter: inspect.Parameter) -> inspect.Parameter:
    hint, extra = parameter.annotation, list[Any]()
    if get_origin(hint) is Annotated:
        hint, *extra = get_args(hint)
    options: dict[str, Any] = {}
    if any(inner is Mapping or get_origin(inner) is Mapping for inner in (hint, *get_args(hint))):
        hint, options = list[str] | None, {"metavar": "KEY=VALUE"}
    elif get_origin(hint) is Sequence:
        hint = list[get_args(hint)[0]] | None  # type: ignore[misc]
    if set(get_args(hint)) >= {float, str}:
        options["metavar"] = "DURATION"
    elif set(get_args(hint)) >= {int, str}:
        options["metavar"] = "SIZE"
    elif any(isinstance(e, TextFile) for e in extra):
        options.update(metavar="FILE", allow_leading_hyphen=True)
    if shorts := [e.flag for e in extra if isinstance(e, Short)]:
        options["alias"] = shorts
    if parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD:
        parameter = parameter.replace(kind=inspect.Parameter.POSITIONAL_ONLY)
    default = None if parameter.default == () else parameter.default
    if default not in (None, False, inspect.Parameter.empty):
        options["show_default"] = True
    return parameter.replace(annotation=Annotated[hint, Parameter(**options)], default=default)


def _option(name: str, hint: Any, default: Any = False) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hint)


def _values(
    public: Sequence[inspect.Parameter], typed: Mapping[str, Any], command: Sequence[str] | None, op: Operation
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """What was typed, as the operation takes it."""
    if command is not None and not any(_has(p, AfterDashes) for p in public):
        raise UsageError(f"stoker {op.command} takes no command after --")
    several = any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in public)
    positional: list[Any] = []
    keywords: dict[str, Any] = {}
    for parameter in public:
        if _has(parameter, AfterDashes):
            keywords[parameter.name] = tuple(command or ())
        elif parameter.name in typed:
            value = typed[parameter.name]
            if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
                positional += value
            elif several and parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD:
                positional.append(_value(parameter, value))
            else:
                keywords[parameter.name] = _value(parameter, value)
    return tuple(positional), keywords


def _value(parameter: inspect.Parameter, value: Any) -> Any:
    option = f"--{parameter.name.replace('_', '-')}"
    if _has(parameter, TextFile) and value is not None:
        return _file(value, option)
    if isinstance(value, list):
        mapping = any(get_origin(inner) is Mapping for inner in _hints(parameter.annotation))
        return dict(_pair(entry, option) for entry in value) if mapping else tuple(value)
    return () if value is None and parameter.default == () else value


def _hints(hint: Any) -> Iterator[Any]:
    yield hint
    for inner in get_args(hint):
        yield from _hints(inner)


def _pair(entry: str, option: str) -> tuple[str, str]:
    key, equals, value = entry.partition("=")
    if not equals or not key:
        raise UsageError(f"{option}: {entry!r} is not KEY=VALUE", next_step=f"write it as {option} KEY=VALUE")
    return key, value


def _file(named: str, option: str) -> str:
    if named == "-":
        data = sys.stdin.buffer.read()
    else:
        try:
            data = Path(named).read_bytes()
        except FileNotFoundError:
            raise NotFound(f"{option}: there is no file {named}") from None
        except OSError as problem:
            raise UsageError(f"{option}: {named} cannot be read: {problem.strerror}") from problem
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as problem:
        raise UsageError(f"{option}: {named} is not a text in UTF-8 (byte {problem.start})") from None


def _has(parameter: inspect.Parameter, marker: type) -> bool:
    return any(isinstance(extra, marker) for extra in getattr(parameter.annotation, "__metadata__", ()))


def _help(op: Operation) -> str:
    """The docstring without the entry of the parameter that stands after `--` (the usage line shows it)."""
    doc = op.doc()
    hidden = [name for name, p in op.signature().parameters.items() if _has(p, AfterDashes)]
    said, args, listed = doc.partition("\n\nArgs:")
    # The source wraps for its reader; the terminal has a width of its own.
    paragraphs = "\n\n".join(paragraph.replace("\n", " ") for paragraph in said.split("\n\n"))
    listed = re.sub(r"\n {8,}(?=\S)", " ", listed)
    return "\n".join(
        line
        for line in (paragraphs + args + listed).splitlines()
        if not any(line.strip().startswith(f"{name}: ") for name in hidden)
    )


def _usage(op: Operation) -> str | None:
    if not any(_has(p, AfterDashes) for p in op.signature().parameters.values()):
        return None
    first = {"exec": "[NODE] ", "template save": "TEMPLATE "} | dict.fromkeys(_OF_A_NODE, "NODE NAME ")
    node = first.get(op.command, "")
    return f"Usage: stoker {op.command} {node}[OPTIONS] -- COMMAND [ARG...]\n"


def _completion(app: App) -> Callable[[str], int]:
    def completion(shell: str = "bash", /) -> int:
        """Print the completion script of a shell: `source <(stoker completion bash)`.

        Args:
            shell: bash, zsh or fish.
        """
        if shell not in ("bash", "zsh", "fish"):
            raise UsageError(f"there is no completion for {shell!r}", next_step="bash, zsh or fish")
        sys.stdout.write(app.generate_completion(shell=shell) + "\n")  # type: ignore[arg-type]
        return 0

    return completion


def command_named(arguments: Sequence[str]) -> str | None:
    """The command that a command line begins with, of one word or two; None where it begins with none."""
    words = [word for word in arguments[:2] if not word.startswith("-")]
    if not words or arguments[0] != words[0]:
        return None
    both = " ".join(words)
    return both if both in commands() else words[0]


def usage_error(problem: Exception, command: str | None) -> StokerError:
    """What cyclopts refused, as one sentence and a next step."""
    from cyclopts.exceptions import UnknownCommandError, UnusedCliTokensError

    sentence = " ".join(str(problem).split())
    tokens = getattr(problem, "unused_tokens", None) or []
    if isinstance(problem, UnusedCliTokensError) and command in _WITH_COMMAND and tokens:
        rest = " ".join(tokens)
        return UsageError(
            f"{tokens[0]!r}: the command has to stand after --", next_step=f"stoker {command} ... -- {rest}"
        )
    if isinstance(problem, UnknownCommandError):
        command = None  # There is no help for what is not there.
    return UsageError(
        sentence[:1].lower() + sentence[1:], next_step=f"stoker {command} --help" if command else "stoker --help"
    )
