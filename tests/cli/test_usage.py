import shlex
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from layers import make_layer

from hwsim.trace import write

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


def test_the_version() -> None:
    assert hwsim("--version").stdout == f"hwsim {metadata.version('hwsim')}\n"


def test_a_closed_stdout_is_no_error() -> None:
    command = " ".join(map(shlex.quote, [*HWSIM, "tables", "show"]))
    done = subprocess.run(
        ["sh", "-c", f"{command} >&-"], stderr=subprocess.PIPE, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full device")
def test_output_that_cannot_be_written_is_one_line() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*HWSIM, "tables", "show"], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 2
    assert done.stderr == "hwsim: output: No space left on device\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("verilog", "-o", "x.v", "--tokens", "3"), "--tokens is for --testbench"),
        (("verilog", "-o", "x.v", "--stall-rate", "0.5"), "--stall-rate is for --testbench"),
        (("synth", "--target", "ecp5", "--seeds", "7"), "--seeds is for --pnr"),
        (("simulate", "--stall-seed", "7"), "--stall-seed is for --stall-rate"),
        (("energy", "--model", "bitnet-7b", "--seed", "7"), "--seed is for --samples"),
        (("report", "-o", "x", "--only", "published", "--layer", "y"), "--layer is for --only"),
        (("report", "-o", "x", "--only", "layer", "--trace", "y"), "--trace is for --only trace"),
        (
            ("simulate", "--model", "bitnet-125m", "--activations", "random"),
            "--activations and --model cannot both be given",
        ),
    ],
)
def test_options_that_would_do_nothing_are_refused(
    arguments: tuple[str, ...], message: str
) -> None:
    done = hwsim(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"hwsim: {message}")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("simulate", "--layer", "absent", "--json", "nowhere/x"),
        ("simulate", "--layer", "absent", "--output", "nowhere/x"),
        ("simulate", "--model", "absent", "--json", "nowhere/x"),
        ("synth", "--target", "absent", "--json", "nowhere/x"),
        ("energy", "--model", "absent", "--json", "nowhere/x"),
        ("energy", "--validation", "nowhere/x"),
        ("bench", "--only", "absent", "--json", "nowhere/x"),
        ("verilog", "--testbench", "absent", "-o", "nowhere/x"),
    ],
)
def test_outputs_are_tried_before_anything_is_run(arguments: tuple[str, ...]) -> None:
    done = hwsim(*arguments)
    assert done.returncode == 2
    assert done.stderr == "hwsim: nowhere/x: cannot be written: No such file or directory\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("simulate", "--activations", "random"), "--tokens: that many tokens of 120 activations"),
        (("simulate", "--model", "bitnet-125m"), "--tokens: that many tokens of 3072 activations"),
        (("energy", "--model", "bitnet-125m"), "tokens must be at most 1,000,000,000,000"),
    ],
)
def test_astronomic_numbers_are_refused(arguments: tuple[str, ...], message: str) -> None:
    done = hwsim(*arguments, "--tokens", "9" * 20)
    assert done.returncode == 2
    assert done.stderr.startswith(f"hwsim: {message}")


ARRAY = ("--rows", "2", "--columns", "4", "--batch", "1")


@pytest.mark.parametrize(
    ("read", "arguments"),
    [
        ("t.st", ("trace", "show", "t.st", "--json", "t.st")),
        ("t.st", ("synth", "--target", "generic", *ARRAY, "--check", "t.st", "--json", "t.st")),
        ("t.v", ("verilog", *ARRAY, "-o", "t.v", "--testbench", "t.v")),
        ("t_tb.weight.hex", ("verilog", *ARRAY, "-o", "t.v", "--testbench", "t_tb.weight.hex:a:b")),
        ("t.st", ("simulate", *ARRAY, "--layer", "t.st:a:b", "--output", "t.st")),
    ],
    ids=["trace", "synth", "verilog", "testbench", "simulate"],
)
def test_a_trace_is_not_written_over(
    read: str, arguments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(read, [make_layer(3, 5, 2, seed=0, name="a:b")], model="m", source="s")
    before = Path(read).read_bytes()
    done = hwsim(*arguments)
    assert done.returncode == 2
    assert done.stderr.endswith("is read or written already; outputs need files of their own\n")
    assert Path(read).read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [read]


def test_a_config_is_not_written_over_by_what_stands_beside_the_verilog(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("t.core").write_text("rows = 2\ncolumns = 4\nbatch = 1\n")
    done = hwsim("verilog", "--config", "t.core", "-o", "t.v", "--testbench", "shipped")
    assert (done.returncode, "t.core: is read or written" in done.stderr) == (2, True)
    assert [path.name for path in tmp_path.iterdir()] == ["t.core"]


def test_files_that_belong_together_are_all_written_or_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("t_tb.v").mkdir()
    done = hwsim("verilog", *ARRAY, "-o", "t.v", "--testbench", "shipped", "--tokens", "1")
    assert done.returncode == 2
    assert done.stderr == "hwsim: t_tb.v: cannot be written: Is a directory\n"
    assert [path.name for path in tmp_path.iterdir()] == ["t_tb.v"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [("9" * 5000, "not a TOML file"), (f"0x{'f' * 5000}", "not a number of thousands of digits")],
    ids=["decimal", "hexadecimal"],
)
def test_endless_numbers_are_refused(rows: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "t.toml").write_text(f"rows = {rows}\n")
    done = hwsim("verilog", "--config", str(tmp_path / "t.toml"), "-o", str(tmp_path / "t.v"))
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert message in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("simulate", "--engine", "fast", *ARRAY, "--layer", ""),
        ("verilog", "--preset", "", "-o", "t.v"),
        ("simulate", "--engine", "fast", *ARRAY, "--layer", "two\nlines"),
        ("verilog", *ARRAY, "-o", "./-t.v", "--testbench", "shipped"),
    ],
    ids=["no layer", "no preset", "two lines", "an option for iverilog"],
)
def test_names_that_lead_nowhere_are_refused(
    arguments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = hwsim(*arguments)
    assert (done.returncode, done.stderr.count("\n"), done.stdout) == (2, 1, "")
    assert list(tmp_path.iterdir()) == []


def test_a_layer_without_a_name_is_refused_as_one() -> None:
    done = hwsim("simulate", "--layer", "")
    assert done.stderr == "hwsim: a layer is FILE or FILE:NAME, not ''\n"
