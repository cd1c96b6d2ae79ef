"""The command line. Only this package prints, asks or exits; all else it does are plain calls.

Each command is a module. Heavy imports stand inside the commands, so that help comes at once.
"""

import os
import sys
import warnings
from typing import Annotated, cast

import typer

from hwsim.cli import bench, demo, energy, report, simulate, synth, tables, trace, verilog
from hwsim.errors import InputError

# Typer does not export the class of all wrong usage.
_UsageError = cast("type[typer.BadParameter]", typer.BadParameter.__mro__[1])

app = typer.Typer(
    name="hwsim",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"hwsim {version('hwsim')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", help="print the version", callback=_print_version, is_eager=True),
    ] = False,
) -> None:
    """Simulate and price multiplier-free hardware for 1-bit language models."""


app.command("simulate", epilog=simulate.EXAMPLE)(simulate.simulate)
app.command("verilog", epilog=verilog.EXAMPLE)(verilog.verilog)
app.command("synth", epilog=synth.EXAMPLE)(synth.synth)
app.command("energy", epilog=energy.EXAMPLE)(energy.energy)
app.command("bench", epilog=bench.EXAMPLE)(bench.bench)
app.command("report", epilog=report.EXAMPLE)(report.report)
app.command("demo", epilog=demo.EXAMPLE)(demo.demo)
app.add_typer(trace.app, name="trace")
app.add_typer(tables.app, name="tables")


def main() -> None:
    """Run the command line: exit codes 0 done, 1 check failed, 2 bad input, 130 interrupted."""
    if sys.stdout is None:  # closed by the caller, which libraries do not expect
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    try:
        code = app(standalone_mode=False)
        sys.stdout.flush()
    except InputError as error:
        print(f"hwsim: {' '.join(str(error).splitlines())}", file=sys.stderr)
        code = 2
    except _UsageError as error:
        message = " ".join(error.format_message().split())
        # Without a command there is no message: what is shown is the help.
        print(f"hwsim: {message}", file=sys.stderr) if message else error.show()
        code = 2
    except MemoryError:
        print("hwsim: there is not enough memory for this", file=sys.stderr)
        code = 2
    except OSError as error:
        where = "output" if error.filename is None else error.filename
        print(f"hwsim: {where}: {error.strerror or error}", file=sys.stderr)
        # What is still to be printed cannot be.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        code = 2
    except (KeyboardInterrupt, typer.Abort):
        code = 130
    if code == 130:  # Typer catches some interruptions itself
        print("hwsim: interrupted", file=sys.stderr)
        warnings.simplefilter("ignore")  # about what will not be finished
    sys.exit(code)
