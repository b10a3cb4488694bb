"""`lorastream`: the verbs, and how errors end: a user's mistake in one screen with exit code 2, never a traceback."""

from __future__ import annotations

import io
import os
import sys
from typing import Annotated, cast

import typer

from lorastream.cli import (
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
    validate,
)
from lorastream.errors import LorastreamError, RunError, UserError

INTERRUPTED = 130
# A command line that cannot be read; typer has no public name for it, and its home moves between releases.
_UsageError = cast("type[Exception]", typer.BadParameter.__mro__[1])

app = typer.Typer(
    name="lorastream",
    help="Teach a pretrained transformer new classes as they arrive: no stored images, no task label, no slower with "
    "every task.",
    epilog="Begin with: lorastream run digits --methods sequential_lora,sd_lora",
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
app.command("report", short_help="Show the tables of runs.")(report.report)
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
        code = app(prog_name="lorastream", standalone_mode=False)
    except _UsageError as problem:
        from lorastream.cli import messages

        code = _told(UserError.of([messages.usage_fault(problem)]))
    except LorastreamError as error:
        code = _told(error)
    except OSError as error:
        code = _told(_of_system(error))
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    if code == INTERRUPTED:
        typer.echo("Interrupted.", err=True)
    sys.exit(code or 0)


def _of_system(error: OSError) -> RunError:
    """Return what the system refused, such as to write to a full disk, as a failure that says where."""
    return RunError(
        str(error.filename or "input or output"),
        expected="a place that is there, may be used and has room",
        got=error.strerror or str(error) or type(error).__name__,
        next_step="mend that and run again; `lorastream doctor` shows what room there is",
    )


def _told(error: LorastreamError) -> int:
    from lorastream.cli import messages

    messages.show(error)
    return error.exit_code


if __name__ == "__main__":
    main()
