"""The command `mlgcn STAGE`: one line a stage, each a module of `commands/`.

A stage with `VERBS` is a package with a module for each of them: `mlgcn STAGE VERB`.
"""

import importlib
import inspect
import logging as python_logging
import os
import pathlib
import signal
import sys
import types

from absl import app, flags, logging

from mlgcn_jax.commands import exit_status

STAGES = {
    "tags": "show the tags of a folder, propose aliases, draft a labels.csv",
    "build": "make a dataset of a folder of pictures and their tags",
    "graph": "show and write the label graph of a dataset",
    "pictures": "show training pictures as the model sees them, augmented",
    "train": "train a config on a dataset, or go on with it",
    "evaluate": "measure a trained run",
    "compare": "train and measure several models on one dataset",
    "predict": "tag pictures with a trained run",
    "weights": "write what a run has learnt for PyTorch and others",
    "launch": "all of these, as a config says",
    "doctor": "say whether this machine, or a job's, computes right",
    "benchmark": "time mlgcn-jax and PyTorch side by side",
    "status": "say how far a run is, and how its processes are",
    "crawl": "list works and fetch pictures from Pixiv, politely",
    "demo": "show the whole way, from crawl to tags, without an account",
    "fake_pixiv": "serve a crawl folder as if it were Pixiv, on this machine alone",
    "plan": "say what training costs on accelerators that are not there",
}

_DEBUG = flags.DEFINE_boolean(
    "debug", False, "Show where an error came from, and what the libraries log."
)


def main() -> int:
    """Runs the stage that the command line names; returns the exit status."""
    stage, *arguments = sys.argv[1:] or [""]
    if "--debug" not in arguments:
        # Errors reach us as exceptions. What XLA logs besides, before it goes on as if
        # nothing were, are pages: two for each program of the compilation cache.
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # Like Ctrl-C, so that what is half done is cleared away. Training saves instead.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(exit_status.PREEMPTED))
    try:
        if stage in ("-h", "--help"):
            print(_usage())
            return 0
        if stage not in STAGES:
            found = f"unknown stage {stage!r}" if stage else "no stage is given"
            return _report("mlgcn", f"{found}\n\n{_usage()}", exit_status.WRONG_CALL)
        # Only the chosen one: two stages may give a flag the same name.
        name = f"mlgcn {stage}"
        try:
            module = importlib.import_module(f"mlgcn_jax.commands.{stage}")
        except ValueError as error:  # JAX reads its settings when it is imported
            message = f"a setting of JAX in the environment: {error}"
            return _report(name, message, exit_status.WRONG_CALL)
        verb = arguments[0] if arguments else ""
        if verb in _verbs_of(module):
            module = importlib.import_module(f"{module.__name__}.{verb}")
            name, arguments = f"{name} {verb}", arguments[1:]
        if "-h" in arguments or "--help" in arguments:
            print(_stage_usage(module))
            return 0
        if _verbs_of(module):
            found = f"unknown verb {verb!r}" if verb else "no verb is given"
            message = f"{found}; see {name} --help"
            return _report(name, message, exit_status.WRONG_CALL)
        return _run(module, name, arguments)
    except KeyboardInterrupt:
        return exit_status.INTERRUPTED


def _run(module: types.ModuleType, name: str, arguments: list[str]) -> int:
    flags.FLAGS.set_default("verbosity", logging.INFO)
    if "config" in flags.FLAGS and arguments and not arguments[0].startswith("-"):
        arguments = [f"--config={arguments[0]}", *arguments[1:]]
    sys.argv = [name, *arguments]  # where config_flags looks for --config.KEY=VALUE
    try:
        remaining = flags.FLAGS(sys.argv)
        if "config" in flags.FLAGS:
            flags.FLAGS.config.keys()  # raises what kept the file from being opened
    except flags.Error as error:
        return _report(name, f"{error}; see {name} --help", exit_status.WRONG_CALL)
    except Exception as error:  # a config file is a program and may raise anything
        if "--debug" in arguments:
            raise
        return _report(name, _config_fault(error), exit_status.WRONG_CALL)
    _log_to_stderr()
    try:
        return module.main(remaining) or 0
    except app.UsageError as error:
        return _report(name, f"{error}; see {name} --help", exit_status.WRONG_CALL)
    except BrokenPipeError:  # the reader of the output, `head` say, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exit_status.FAILURE
    except (ValueError, OSError) as error:  # those with a message for the user
        if _DEBUG.value:
            raise
        return _report(name, f"{error} (--debug shows where)", exit_status.FAILURE)


def _config_fault(error: Exception) -> str:
    if isinstance(error, OSError):  # its last line is the one of the system
        return f"--config: {str(error).splitlines()[-1].strip()}"
    if isinstance(error, AttributeError) and isinstance(error.args[0], KeyError):
        # From ml_collections, with what it says of a key that it does not know.
        return f"--config has no key {error.args[0].args[0]}"
    return (
        f"--config cannot be read: {type(error).__name__}: {error} (a config is a "
        "Python file with get_config(); --debug shows where)"
    )


def _report(name: str, message: str, status: int) -> int:
    print(f"{name}: error: {message}", file=sys.stderr)
    return status


def _verbs_of(module: types.ModuleType) -> dict[str, str]:
    """Returns the verbs of a stage, each with its purpose; {} of most stages."""
    return getattr(module, "VERBS", {})


def _usage() -> str:
    return "\n".join(
        [
            "usage: mlgcn STAGE [...]",
            "",
            *_purposes(STAGES),
            "",
            "mlgcn STAGE --help says more.",
        ]
    )


def _stage_usage(module: types.ModuleType) -> str:
    return "\n".join(
        [
            inspect.cleandoc(module.__doc__ or ""),
            *_purposes(_verbs_of(module)),
            flags.FLAGS.module_help(module),
            f"  --{_DEBUG.name}: {flags.FLAGS[_DEBUG.name].help}",
        ]
    )


def _purposes(names: dict[str, str]) -> list[str]:
    width = max(map(len, names), default=0)
    return [f"  {name:{width}} {purpose}" for name, purpose in names.items()]


def _log_to_stderr() -> None:
    """Shows what the stages log, and of the libraries what is a warning or worse."""
    logging.use_absl_handler()
    handler = logging.get_absl_handler()
    handler.setFormatter(
        python_logging.Formatter("%(asctime)s %(levelname).1s %(message)s", "%H:%M:%S")
    )
    if not _DEBUG.value:
        handler.addFilter(_is_ours_or_serious)


def _is_ours_or_serious(record: python_logging.LogRecord) -> bool:
    package = pathlib.Path(__file__).parent
    folders = (package, package.with_name("tfds_pixiv"))
    path = pathlib.Path(record.pathname)
    if any(path.is_relative_to(folder) for folder in folders):
        return True
    # The error itself reaches us, who report it in one line. So asyncio need not say
    # that nobody fetched the result of a write that failed beside it.
    record.exc_info = None
    return record.levelno >= python_logging.WARNING and record.name != "asyncio"


if __name__ == "__main__":
    sys.exit(main())
