import subprocess
import sys

import pytest

HWSIM = [sys.executable, "-c", "from hwsim.cli import main; main()"]


def hwsim(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*HWSIM, *arguments], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--bogus",), "No such option: --bogus"),
        (("nosuch",), "No such command 'nosuch'"),
        (("simulate", "--rows", "x"), "Invalid value for '--rows'"),
        (("bench", "--repeat", "0"), "Invalid value for '--repeat'"),
        (("verilog",), "Missing option '-o'"),
    ],
)
def test_wrong_usage_is_one_line(arguments: tuple[str, ...], message: str) -> None:
    done = hwsim(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith(f"hwsim: {message}")
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_help_is_no_error_and_no_command_is_one() -> None:
    assert hwsim("--help").returncode == 0
    done = hwsim()
    assert done.returncode == 2
    assert "simulate" in done.stdout + done.stderr


def test_a_wrong_answer_is_exit_code_1() -> None:
    program = (
        "from hwsim import adder; adder.number = lambda digits: 7; "
        "from hwsim.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "demo", "1+2", "--engine", "fast"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "WRONG" in done.stdout
