"""The `stoker` command: reads the command line, asks the operation, prints the answer, exits with the right code."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from stoker.cli.build import Call
    from stoker.cli.out import Out
    from stoker.errors import StokerError
    from stoker.operations.session import Session

INTERRUPTED = 130
BROKEN_PIPE = 141
# Python's own code for output that could not be written.
UNPRINTED = 120
_VALUE_OPTIONS = ("--inventory", "-i", "--config")
_FLAGS = ("--json", "--ascii", "--quiet", "-q", "--verbose", "-v")


def program() -> NoReturn:
    """What the command `stoker` is: run, and end this process.

    Its memory is left to the kernel, and seldom searched for rubbish: together a quarter of a small call's CPU time.
    """
    import atexit
    import gc

    gc.set_threshold(50_000, 20, 20)
    code = main()
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except BrokenPipeError:
        code = BROKEN_PIPE
    except OSError as problem:
        code = _unprinted(str(problem.strerror))
    os._exit(code)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (by default this process's own) and return the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    _open_missing_streams()
    if arguments in (["--version"], ["-V"]):
        # On its own, so that it costs nothing.
        from stoker import __version__

        try:
            sys.stdout.write(f"stoker {__version__}\n")
            sys.stdout.flush()
        except OSError as problem:
            gone = isinstance(problem, BrokenPipeError)
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return BROKEN_PIPE if gone else _unprinted(str(problem.strerror))
        return 0
    from stoker.cli.out import OutputError, ReaderGone

    try:
        return _run(arguments)
    except (BrokenPipeError, ReaderGone):
        # Whoever read us has gone. Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except OutputError as problem:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _unprinted(str(problem))
    except KeyboardInterrupt:
        return INTERRUPTED


def _unprinted(why: str) -> int:
    with contextlib.suppress(OSError):  # that may be where nothing can be written
        os.write(2, f"stoker: the answer could not be written: {why}\n".encode())
    return UNPRINTED


def _run(arguments: list[str]) -> int:
    from cyclopts import CycloptsError

    from stoker.cli.build import build, command_named, usage_error
    from stoker.errors import StokerError

    before, command = split(arguments)
    before = _options_last(before)
    named = command_named(before)
    try:
        off = _plugins(before)
        named = command_named(before)
        app = build(_answer, command, named, off)
        try:
            with _guarded(before, named):
                code = app(before or ["--help"], exit_on_error=False, print_error=False)
                sys.stdout.flush()
        except CycloptsError as problem:
            raise usage_error(problem, named) from None
    except StokerError as problem:
        from stoker.operations.registry import operations

        operation = next((o.name for o in operations(named) if o.command == named), "stoker")
        verbose = not {"--verbose", "-v"}.isdisjoint(before)
        return fail(problem, as_json="--json" in before, operation=operation, verbose=verbose)
    return code if isinstance(code, int) else 0


def _plugins(arguments: Sequence[str]) -> Collection[str]:
    """Load the plugins that are not built in, where the command may be one of theirs; which are off.

    A command of Stoker's own costs nothing here. Raises PluginError for one of a plugin that is not there.
    """
    from stoker.operations.registry import GROUPS, commands

    first = arguments[0] if arguments else "--help"
    asks_help = not {"--help", "-h", "completion"}.isdisjoint((*arguments, first))
    own = first in GROUPS or first == "mcp" or any(command.partition(" ")[0] == first for command in commands())
    if own and not asks_help:
        return ()
    from stoker.cli.plugged import offered

    return offered(first, _option(arguments, "--config"), of_help=asks_help)


def _option(arguments: Sequence[str], name: str) -> str | None:
    """The value of an option, before anything else is known of the command line."""
    for at, word in enumerate(arguments):
        if word == name and at + 1 < len(arguments):
            return arguments[at + 1]
        if word.startswith(f"{name}="):
            return word.partition("=")[2]
    return None


def _guarded(arguments: Sequence[str], named: str | None) -> contextlib.AbstractContextManager[object]:
    """What is put around a call that prints something itself: the help, or a completion script."""
    from stoker.cli.out import Guarded
    from stoker.operations.registry import commands

    if named in commands() and not {"--help", "-h"} & set(arguments):
        return contextlib.nullcontext()
    return contextlib.redirect_stdout(Guarded(sys.stdout))


def _open_missing_streams() -> None:
    """A stream that was closed before we were started: its number must not become that of another file."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
            setattr(sys, name, open(number, "r" if number == 0 else "w", closefd=False))  # noqa: SIM115


def split(arguments: Sequence[str]) -> tuple[list[str], list[str] | None]:
    """The arguments before the first `--`, and those after it, untouched; None where there is no `--`."""
    if "--" not in arguments:
        return list(arguments), None
    at = list(arguments).index("--")
    return list(arguments[:at]), list(arguments[at + 1 :])


def _options_last(arguments: list[str]) -> list[str]:
    """`stoker --json jobs` as `stoker jobs --json`: options of every command may stand before it."""
    at = 0
    while at < len(arguments):
        if arguments[at] in _VALUE_OPTIONS:
            at += 2
        elif arguments[at] in _FLAGS or arguments[at].startswith(("--inventory=", "--config=")):
            at += 1
        else:
            break
    return arguments[at:] + arguments[:at] if at < len(arguments) else arguments


def _answer(call: Call) -> int:
    """Ask the operation and print what it answers."""
    from stoker.cli import render
    from stoker.cli.out import Out
    from stoker.operations.policy import admit_command_line
    from stoker.operations.session import Session

    out = Out(ascii_only=call.ascii, form=call.form)
    render.check_raw(call, out)
    say, progress = (_unsaid, None) if call.quiet else (out.note, out.progress())
    session = Session(call.inventory, config_file=call.config, say=say, progress=progress)
    session.asks = _typed if sys.stdin.isatty() and not call.json else None
    began = time.monotonic()
    try:
        admit_command_line(session, call.operation, call.given)
        value = call.operation.function(session, *call.args, **call.kwargs)
        return render.show(value, call, out, session)
    finally:
        if call.verbose:
            _tell(session, call, out, time.monotonic() - began)
        session.close()


def _typed(question: str) -> str:
    """What a person types after a question, which is on standard error; nothing, where there is no more input."""
    sys.stderr.write(question)
    sys.stderr.flush()
    return sys.stdin.readline().strip()


def _unsaid(_text: str) -> None:
    """Where remarks go that nobody wants."""


def _tell(session: Session, call: Call, out: Out, seconds: float) -> None:
    """What was used, as far as it was: what nobody asked for is not looked up now."""
    from stoker.cli.out import clean

    used = vars(session)
    if (config := used.get("config")) is not None:
        out.note(clean(f"settings: {config.file or 'defaults, there is no stoker.yml'}"))
    if "inventory_path" in used:
        out.note(clean(f"inventory: {used['inventory_path'] or 'this machine alone'}"))
    if (store := used.get("store")) is not None:
        out.note(clean(f"store: {store.url}"))
    out.note(f"{call.operation.name} took {seconds:.2f} s")


def fail(problem: StokerError, *, as_json: bool, operation: str, verbose: bool = False) -> int:
    """Say what went wrong on standard error (and, asked for JSON, as an object on standard output).

    `verbose`: with what it came from, as Python says it.
    """
    from stoker.cli.format import one_line
    from stoker.cli.out import Out

    out = Out()
    message = "\n".join(one_line(line) for line in problem.message.splitlines())
    step = f" (next: {one_line(problem.next_step)})" if problem.next_step else ""
    out.note(f"stoker: {message}{step}")
    cause = problem.__cause__ if verbose else None
    while cause is not None:
        # Further lines may hold statements and values.
        first = str(cause).partition("\n")[0]
        out.note(one_line(f"  because of {type(cause).__name__}: {first}"))
        cause = cause.__cause__ or cause.__context__
    if as_json:
        from stoker.cli.render import failure

        out.text(json.dumps(failure(problem, operation)) + "\n")
    return problem.exit_code


if __name__ == "__main__":
    program()
