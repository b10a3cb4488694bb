"""`lorastream`: the verbs, and how errors end: a user's mistake in one screen with exit code 2, never a traceback."""

from __future__ import annotations

import io
import os
import sys
from typing import Annotated, cast

import typer

from lorastream import processes
from lorastream.cli import (
    analyse,
    classes,
    data,
    doctor,
    evaluate,
    export,
    history,
    learn,
    list,  # noqa: A004 (the verb is called list)
    predict,
    push,
    report,
    run,
    suite,
    validate,
    watch,
)
from lorastream.errors import LorastreamError, RunError, UserError

INTERRUPTED = 130
_SHARED = {"run"}  # verbs whose work several processes share
# A command line that cannot be read; typer has no public name for it, and its home moves between releases.
_UsageError = cast("type[Exception]", typer.BadParameter.__mro__[1])

app = typer.Typer(
    name="lorastream",
    help="Teach a pretrained transformer new classes as they arrive: no stored images, no task label, no slower with "
    "every task.",
    epilog="Begin with: lorastream run digits --methods sequential_lora,sd_lora,sd_lora_plus",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help starts twice as fast and reads well in a file
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
app.command("learn", short_help="Teach a model a folder of new classes.")(learn.learn)
app.command("predict", short_help="Name what pictures show.")(predict.predict)
app.command("evaluate", short_help="Measure a model on a folder of classes.")(evaluate.evaluate)
app.command("history", short_help="List the steps of a model.")(history.history)
app.command("rollback", short_help="Go back to a step, bit for bit.")(history.rollback)
app.command("rename", short_help="Give a class of a model another name.")(classes.rename)
app.command("forget-class", short_help="Drop a class of a model.")(classes.forget_class)
app.command("export", short_help="Write a model for another library.")(export.export)
app.command("push", short_help="Put an exported model on the Hugging Face hub.")(push.push)
app.command("run", short_help="Learn a recipe's tasks one after another.")(run.run)
app.command("suite", short_help="Make many runs: methods x recipes x seeds.")(suite.suite)
app.command("watch", short_help="Watch a run as it goes on.")(watch.watch)
app.command("report", short_help="Show the tables of runs.")(report.report)
app.command("analyse", short_help="Measure what the papers claim on a run.")(analyse.analyse)
app.command("list", short_help="List methods, recipes, backbones and sources.")(list.show)
app.command("validate", short_help="Check a recipe without running it.")(validate.validate)
app.command("doctor", short_help="Show versions, device and disk.")(doctor.doctor)
app.add_typer(data.app, name="data", short_help="Put published benchmarks on your disk.")


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    *,
    version: Annotated[bool, typer.Option("--version", help="Show the version and stop.")] = False,
) -> None:
    if version:
        from lorastream import __version__

        typer.echo(f"lorastream {__version__}")
        raise typer.Exit
    if context.invoked_subcommand not in _SHARED and processes.launched() > 1:
        raise UserError(
            f"lorastream {context.invoked_subcommand or ''}".rstrip(),
            expected="to be started once: of all verbs only `run` shares its work between processes",
            got=f"started {processes.launched()} times, by torchrun or accelerate launch",
            next_step="start it without a launcher; or hide all devices but one from it: CUDA_VISIBLE_DEVICES=0",
        )
    if context.invoked_subcommand is None:
        typer.echo(context.get_help(), err=True)
        raise typer.Exit(UserError.exit_code)


def main() -> None:
    """Run the command line and exit with its code: 0 well, 1 a failed run, 2 a user's mistake, 130 interrupted."""
    # Threads that wait do not spin: a training step beside a busy neighbour was eight times slower (docs/log.md).
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that lacks a sign shows another: no reason to stop
    try:
        code = _run_app()
    except _UsageError as problem:
        from lorastream.cli import messages

        code = _told(UserError.of([messages.usage_fault(problem)]))
    except LorastreamError as error:
        code = _told(error)
    except OSError as error:
        code = _told(_of_system(error))
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    if code == INTERRUPTED and processes.speaks():
        typer.echo("Interrupted.", err=True)
    sys.exit(code or 0)


def _run_app() -> int | None:
    """Run the command line; where processes share the work, say which one failed of something unforeseen."""
    try:
        return app(prog_name="lorastream", standalone_mode=False)
    except (LorastreamError, _UsageError, OSError, typer.Abort):
        raise
    except Exception:
        _name_process()
        raise


def _name_process() -> None:
    """Say which of several processes speaks."""
    if processes.launched() > 1:
        rank = os.environ.get("RANK", "0")
        typer.echo(f"On process {rank} of {processes.launched()}, counted from 0:", err=True)


def _of_system(error: OSError) -> RunError:
    """Return what the system refused, such as to write to a full disk, as a failure that says where."""
    return RunError(
        str(error.filename or "input or output"),
        expected="a place that is there, may be used and has room",
        got=error.strerror or str(error) or type(error).__name__,
        next_step="mend that and run again; `lorastream doctor` shows what room there is",
    )


def _told(error: LorastreamError) -> int:
    if processes.speaks():
        from lorastream.cli import messages

        _name_process()
        messages.show(error)
    return error.exit_code


if __name__ == "__main__":
    main()
