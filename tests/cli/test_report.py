import json
from pathlib import Path

import pytest
from layers import make_layer
from toytable import write_table

from hwsim import trace
from hwsim.reports import Inputs


@pytest.fixture
def own_trace(tmp_path: Path) -> str:
    layer = make_layer(5, 9, 3, seed=0, name="mine")
    trace.write(tmp_path / "own.safetensors", [layer], model="my model", source="a test")
    return "own.safetensors"


QUICK = ("report", "-o", "r", "--no-pictures")


def test_a_part_of_a_report(hwsim, tmp_path) -> None:
    code, out, err = hwsim(*QUICK, "--only", "trace")
    assert (code, err) == (0, "")
    assert out.startswith("r: 6 files")
    assert (tmp_path / "r" / "report.md").read_text().startswith("# Layers of hwsim adder")
    assert {path.name for path in (tmp_path / "r").iterdir()} == {
        "report.md",
        "provenance.json",
        "tables",
    }


def test_check_says_what_differs(hwsim, tmp_path) -> None:
    assert hwsim(*QUICK, "--only", "trace")[0] == 0
    code, out, err = hwsim("report", "--check", "r")
    assert (code, out, err) == (0, "r: follows from today's tables\n", "")
    (tmp_path / "r" / "tables" / "weights.csv").write_text("changed")
    code, out, err = hwsim("report", "--check", "r")
    assert (code, err) == (1, "")
    assert out == "r/tables/weights.csv: does not follow from today's tables and code\n"


def test_every_option_is_followed(hwsim, tmp_path, own_trace) -> None:
    write_table(tmp_path, "7nm,add,int8,,1,pJ,,,me,,measured,\n")
    (tmp_path / "array.toml").write_text('rows = 8\nlane = "negate"\n')

    def made(*options: object) -> str:
        assert hwsim(*QUICK, "--only", "model", "--only", "trace", *options)[0] == 0
        report = (tmp_path / "r" / "report.md").read_text()
        return report.partition("Sources of all")[2]

    usual = made()
    options = (
        ("--model", "bitnet-b1.58-7b"),
        ("--node", "45nm"),
        ("--scope", "core"),
        ("--phase", "prefill"),
        ("--tokens", 2),
        ("--context", 10),
        ("--batch-size", 2),
        ("--baseline", "equal-area"),
        ("--table", "toy.csv"),
        ("--clock-gating", "none"),
        ("--trace", own_trace),
        ("--rows", 32),
        ("--encoding", "2bit"),
        ("--memory", "lpddr5"),
        ("--config", "array.toml"),
    )
    assert len({usual, *(made(*option) for option in options)}) == len(options) + 1


def test_a_layer_is_run_beside_its_prediction(hwsim, tmp_path, own_trace) -> None:
    array = ("--rows", 2, "--columns", 4, "--batch", 2, "--engine", "pysim")
    code, _, err = hwsim(*QUICK, "--only", "layer", "--layer", f"{own_trace}:mine", *array)
    assert (code, err) == (0, "")
    report = (tmp_path / "r" / "report.md").read_text()
    assert "What did mine take on the hardware?" in report
    assert "cause by cause" in report
    recorded = json.loads((tmp_path / "r" / "provenance.json").read_text())
    run = recorded["inputs"]["run"]
    assert (run["engine"], run["array"]["rows"], run["layer"]["tokens"]) == ("pysim", 2, 3)
    assert "engine_s" not in run
    assert f"--layer {own_trace}:mine" in recorded["made_by"]

    # The same run, by way of the file that `simulate` writes.
    layer = ("--layer", own_trace, *array, "--json", "run.json")
    assert hwsim("simulate", *layer, "--preset", "default-64x64")[0] == 0
    assert hwsim(*QUICK, "--only", "layer", "--run", "run.json")[0] == 0
    again = json.loads((tmp_path / "r" / "provenance.json").read_text())["inputs"]["run"]
    assert again["cycles"] == run["cycles"]


def test_the_gates_show_their_toggles(hwsim, tmp_path, own_trace) -> None:
    array = ("--rows", 2, "--columns", 4, "--batch", 2, "--engine", "gates")
    options = ("--only", "layer", "--layer", own_trace, *array)
    code, _, err = hwsim("report", "-o", "r", *options)
    assert (code, err) == (0, "")
    assert (tmp_path / "r" / "figures" / "toggles.svg").exists()
    recorded = json.loads((tmp_path / "r" / "provenance.json").read_text())
    assert recorded["left_out"] == []
    toggles = recorded["inputs"]["run"]["toggles"]
    assert toggles["total"] == sum(toggles.values()) - toggles["total"] > 0
    assert {"select", "level_1", "level_2", "accumulator"} <= toggles.keys()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("report",), "one of -o DIR and --check DIR must be given"),
        (("report", "-o", "r", "--check", "r"), "one of -o DIR and --check DIR must be given"),
        (("report", "--check", "absent"), "absent: not a report"),
        ((*QUICK, "--only", "weather"), "report 'weather': no such report; known: model"),
        ((*QUICK, "--model", "no-such"), "model 'no-such': no such model"),
        ((*QUICK, "--node", "3nm"), "node '3nm': no such node"),
        ((*QUICK, "--scope", "all"), "scope 'all': no such scope"),
        ((*QUICK, "--phase", "train"), "phase 'train': no such phase"),
        ((*QUICK, "--tokens", 0), "tokens must be at least 1"),
        ((*QUICK, "--lane", "int8"), "must be a ternary one"),
        ((*QUICK, "--table", "absent.csv"), "absent.csv: No such file"),
        ((*QUICK, "--layer", "absent:x"), "absent:x: no such file"),
        ((*QUICK, "--run", "absent.json"), "absent.json: No such file"),
        ((*QUICK, "--run", "bad.json"), "bad.json: not a JSON file"),
        ((*QUICK, "--run", "empty.json"), "must be what `hwsim simulate --json` writes"),
        ((*QUICK, "--run", "x", "--layer", "y"), "--layer and --run cannot both be given"),
        (
            (*QUICK, "--only", "trace", "--trace", "bad.json"),
            "bad.json: not a readable",
        ),
        ((*QUICK, "--baseline", "fair"), "baseline 'fair': not known"),
        (("report", "-o", "bad.json", "--only", "trace"), "bad.json: is not a folder"),
    ],
)
def test_bad_input_gives_one_line_and_no_folder(hwsim, tmp_path, options, message: str) -> None:
    (tmp_path / "bad.json").write_text("{")
    (tmp_path / "empty.json").write_text("{}")
    code, out, err = hwsim(*options)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1
    assert not (tmp_path / "r").exists()


def test_the_arithmetic_is_of_a_prefill_unless_told(hwsim, tmp_path) -> None:
    for options, phase in (((), "prefill"), (("--phase", "decode"), "decode")):
        assert hwsim(*QUICK, "--only", "model", "--scope", "arithmetic", *options)[0] == 0
        recorded = json.loads((tmp_path / "r" / "provenance.json").read_text())
        assert recorded["inputs"]["phase"] == phase


def test_defaults_are_those_of_the_inputs(hwsim, tmp_path) -> None:
    assert hwsim(*QUICK, "--only", "trace")[0] == 0
    recorded = json.loads((tmp_path / "r" / "provenance.json").read_text())
    assert recorded["inputs"] == Inputs().words
    assert recorded["made_by"] == "hwsim report -o DIR --only trace --no-pictures"
