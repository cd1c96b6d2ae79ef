"""The command line. Only this package prints, asks or exits; all else it does are plain calls.

Each command is a module. Heavy imports stand inside the commands, so that help comes at once.
"""

import sys
import warnings
from typing import cast

import typer

from hwsim.cli import bench, demo, energy, report, simulate, synth, tables, trace, verilog
from hwsim.errors import InputError

# Typer does not export the class of all wrong usage.
_UsageError = cast("type[typer.BadParameter]", typer.BadParameter.__mro__[1])

app = typer.Typer(
    name="hwsim",
    help="Simulate and price multiplier-free hardware for 1-bit language models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
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
    try:
        code = app(standalone_mode=False)
    except InputError as error:
        print(f"hwsim: {error}", file=sys.stderr)
        code = 2
    except _UsageError as error:
        message = " ".join(error.format_message().split())
        # Without a command there is no message: what is shown is the help.
        print(f"hwsim: {message}", file=sys.stderr) if message else error.show()
        code = 2
    except (KeyboardInterrupt, typer.Abort):
        code = 130
    if code == 130:  # Typer catches some interruptions itself
        print("hwsim: interrupted", file=sys.stderr)
        warnings.simplefilter("ignore")  # about what will not be finished
    sys.exit(code)
