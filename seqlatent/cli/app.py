"""The command line: `seqlatent COMMAND`.

Heavy libraries are imported only by the command that needs them, so that `--help` answers at once.
Bad input ends with one sentence on standard error and exit status 2, failed training with status 1.
"""

import functools
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

from seqlatent import __version__
from seqlatent.cli.catalogue import datasets, models
from seqlatent.cli.combine import combine
from seqlatent.cli.common import INTERRUPTED
from seqlatent.cli.compare import compare
from seqlatent.cli.detect import detect
from seqlatent.cli.evaluate import evaluate
from seqlatent.cli.fit import fit
from seqlatent.cli.forecast import forecast, sample
from seqlatent.cli.latents import decode, encode, impute, inspect, reconstruct
from seqlatent.cli.score import score
from seqlatent.cli.sharded import partition
from seqlatent.cli.stream import stream
from seqlatent.errors import InputError, Interrupted, one_line

app = typer.Typer(
    help="Sequential latent-variable models for time series: fit, score, forecast.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def _main(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        print(__version__)
        raise typer.Exit
    if context.invoked_subcommand is None:
        print(context.get_help())


for command in (
    datasets, models, fit, combine, compare, score, stream, detect, forecast, evaluate, sample,
    encode, decode, reconstruct, impute, inspect, partition,
):  # fmt: skip
    app.command()(command)


def main(arguments: list[str] | None = None) -> None:
    """Run a command and exit with its status."""
    sys.exit(run_command(arguments))


@functools.cache
def _command() -> Callable[..., Any]:
    """The command line. Building it takes as long as a short command, which a process may run many
    of."""
    return typer.main.get_command(app)


def run_command(arguments: list[str] | None = None) -> int:
    """Run a command and return its exit status."""
    try:
        status = int(_command()(args=arguments, standalone_mode=False) or 0)
        return _interrupted() if status == INTERRUPTED else status  # typer caught it
    except InputError as error:
        return _fail(str(error), 2)
    except Interrupted as stop:
        return _fail(str(stop), stop.status)
    except KeyboardInterrupt:
        return _interrupted()
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except Exception as error:
        if hasattr(error, "format_message"):  # a mistake in the command line itself
            message = " ".join(error.format_message().split())  # type: ignore[attr-defined]
            context = getattr(error, "ctx", None)
            command = f" {context.info_name}" if context and context.parent else ""
            return _fail(f"{message.rstrip('.')} (see 'seqlatent{command} --help')", 2)
        if type(error).__name__ == "TrainingError":
            return _fail(str(error), 1)
        if type(error).__name__ == "Abort":
            return _interrupted()
        raise


def _interrupted() -> int:
    return _fail("interrupted", INTERRUPTED)


def _fail(sentence: str, status: int) -> int:
    print(f"seqlatent: {one_line(sentence)}", file=sys.stderr)
    return status


if __name__ == "__main__":
    main()
