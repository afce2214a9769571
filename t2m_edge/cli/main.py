"""The `t2m-edge` command: finds the command's module, runs it, and turns every error into one line and an exit code.

Exit codes: 0 done, 1 the work failed, 2 wrong use or bad input, 130 interrupted.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module

COMMANDS = {
    "compile": "make a classifier from a descriptions file (the main job)",
    "run": "classify photos with a compiled model",
    "eval": "accuracy on a folder or tar of photos, one folder a class",
    "inspect": "what is inside a compiled model",
    "verify": "does a compiled model still give its self-test answer",
    "inject": "add classes to a classifier that was trained elsewhere",
    "merge": "put a head file into a full model",
    "add": "add classes of a head file to a compiled model",
    "remove": "take classes out of a compiled model",
    "rename": "give a class of a compiled model another name",
    "threshold": "set the scores under which a photo is none of the classes, by hand or from photos",
    "bench": "what a model costs on a device: time, memory; history and comparisons",
    "targets": "what can be written: targets and precisions",
    "train": "train the parts of a pack: text, backbone, head",
    "pack": "build, list, describe or export packs",
    "doctor": "what is installed, what is missing and how to get it",
}

LONG = ("train", "pack")
"""Commands that work for minutes, with matrix products large enough for several threads."""
OBJECTS = 200_000
"""New objects after which Python looks for garbage in cycles, in short commands: more than their imports make."""

HELP = """\
Usage: t2m-edge COMMAND ...

Turns a text file of class descriptions into a small image classifier.

  t2m-edge compile descriptions.txt -o model.tflite
  t2m-edge run model.tflite photo.jpg

Commands:
{commands}

Options:
  --help     this text; t2m-edge COMMAND --help tells more
  --version  the version
  --debug    a traceback when something fails

Every command takes --json. Progress goes to stderr. Exit codes: 0 done, 1 the work failed, 2 wrong use or bad input.
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line and exits."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    code = run(arguments)
    try:
        sys.stdout.flush()
        if arguments[:1] == ["compile"]:
            # All is written: to take the interpreter down module by module is a tenth of the time of a compile.
            sys.stderr.flush()
            os._exit(code)
    except BrokenPipeError:
        _drop_stdout()
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """Runs the command line.

    Args:
        arguments: without the program's name.

    Returns:
        The exit code.
    """
    arguments = list(arguments)
    debug = "--debug" in arguments[: arguments.index("--") if "--" in arguments else None]
    while arguments and arguments[0] == "--debug":
        del arguments[0]
    return guarded(lambda: _dispatch(arguments), debug)


def guarded(work: Callable[[], int], debug: bool) -> int:
    """The exit code of some work, its errors being one line on stderr; with ``debug`` they are raised."""
    try:
        return work()
    except KeyboardInterrupt:
        return _interrupted()
    except BrokenPipeError:
        _drop_stdout()
        return 1
    except Exception as error:
        if debug:
            raise
        return _report(error)


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("--help", "-h", "help"):
        width = max(map(len, COMMANDS))
        print(HELP.format(commands="\n".join(f"  {name:<{width}}  {text}" for name, text in COMMANDS.items())), end="")
        return 0 if arguments else 2
    if arguments[0] == "--version":
        from t2m_edge import __version__

        print(f"t2m-edge {__version__}")
        return 0
    name = arguments[0]
    if name not in COMMANDS:
        from t2m_edge.cli.choices import one_of

        one_of("the command", name, tuple(COMMANDS))
    if name not in LONG:
        # One thread for numpy's matrix products: they are small here, and threads cost more than they bring.
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
        gc.set_threshold(OBJECTS)
    import typer.main

    module = import_module(f"t2m_edge.cli.commands.{name}")
    command = typer.main.get_command(module.app)
    given = arguments[1:]
    if default := getattr(module, "DEFAULT", None):
        # `bench MODEL` stands for `bench run MODEL`.
        given = given if given[:1] and given[0] in ("--help", "-h", *command.commands) else [default, *given]
    code = command.main(given, prog_name=f"t2m-edge {name}", standalone_mode=False)
    return _interrupted() if code == 130 else code or 0


def _interrupted() -> int:
    print("error: interrupted; nothing half written was left behind", file=sys.stderr)
    return 130


def _report(error: Exception) -> int:
    """One line on stderr; the exit code that the error stands for."""
    from t2m_runtime.errors import InputError, WorkError

    if hasattr(error, "format_message"):  # a usage error of Typer's own parser
        context = getattr(error, "ctx", None)
        path = context.command_path if context else "t2m-edge"
        _print_error(f"{error.format_message().rstrip('.')}; see {path} --help")
        return 2
    if type(error).__name__ == "Abort":
        return _interrupted()
    if isinstance(error, (InputError, WorkError)):
        _print_error(str(error))
        return 2 if isinstance(error, InputError) else 1
    if isinstance(error, MemoryError):
        _print_error("out of memory; give less at once, or use a machine with more")
        return 1
    if isinstance(error, OSError) and error.strerror:
        what = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
        _print_error(f"{what}; check the path, its rights and the free space")
        return (
            2 if isinstance(error, (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError)) else 1
        )
    if isinstance(error, ModuleNotFoundError):
        _print_error(f"the package {error.name!r} is not installed; t2m-edge doctor says how to get it")
        return 2
    if isinstance(error, FloatingPointError):
        _print_error(str(error))
        return 1
    _print_error(f"unexpected {type(error).__name__}: {error}; run it again with --debug and report what it prints")
    return 1


def _print_error(text: str) -> None:
    from t2m_edge.cli.output import printable

    print("error: " + printable(" ".join(text.split())), file=sys.stderr)


def _drop_stdout() -> None:
    """The reader went away (`| head`): what is still in the buffer goes nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
