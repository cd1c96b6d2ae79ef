import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from layers import make_layer

from hwsim import trace
from hwsim.schedule import START

HWSIM = [sys.executable, "-c", "from hwsim.cli import main; main()"]
SMALL = ("--rows", "3", "--columns", "7", "--batch", "2", "--engine", "pysim")


def hwsim(*arguments: object, folder: Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*HWSIM, *map(str, arguments)], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    trace.write(
        tmp_path / "t.safetensors", [make_layer(5, 11, 3, seed=1)], model="test", source="test"
    )
    return tmp_path


def simulate(folder: Path, *options: object) -> dict:
    arguments = ("simulate", "--layer", "t.safetensors", *SMALL, *options, "--json", "-")
    return json.loads(hwsim(*arguments, folder=folder).stdout)


def test_outputs_cycles_and_check(folder: Path) -> None:
    result = simulate(folder, "--check", "--output", "y.npy")
    layer = trace.read_layer(str(folder / "t.safetensors"))
    expected = layer.activation.astype(np.int32) @ layer.weight.T.astype(np.int32)
    outputs = np.load(folder / "y.npy")
    assert outputs.dtype == np.int32
    assert np.array_equal(outputs, expected)
    assert result["checked"] is True
    assert result["cycles"]["total"] == result["predicted_cycles"]
    assert set(result["baseline"]) == {"fp16", "int8"}


def test_bandwidth_and_latency_make_the_run_longer(folder: Path) -> None:
    plain = simulate(folder)
    for option, cause in (
        ("--weight-bandwidth-gb-s", "weight_stall"),
        ("--activation-bandwidth-gb-s", "activation_stall"),
        ("--result-bandwidth-gb-s", "result_stall"),
    ):
        limited = simulate(folder, option, 0.2, "--burst-bytes", 8)
        assert limited["cycles"]["total"] == limited["predicted_cycles"]
        assert limited["cycles"]["total"] > plain["cycles"]["total"]
        assert limited["cycles"][cause] >= plain["cycles"][cause]
        assert limited["stall_free_cycles"] == plain["cycles"]["total"]
        assert simulate(folder, option, 0.2)["cycles"] != limited["cycles"]
    late = simulate(folder, "--memory-latency-cycles", 100)
    assert late["cycles"]["total"] == late["predicted_cycles"]
    assert late["cycles"]["total"] == plain["cycles"]["total"] + 100 - START


def test_profile_has_every_cycle_once(folder: Path) -> None:
    result = simulate(folder, "--profile", "p.json", "--stall-rate", 0.5, "--clock-mhz", 250)
    events = json.loads((folder / "p.json").read_text())["traceEvents"]
    tracks = {e["tid"]: e["args"]["name"] for e in events if e["ph"] == "M"}
    assert sorted(tracks.values()) == ["activations", "array", "results", "weights"]
    spans: dict[str, list[dict]] = {name: [] for name in tracks.values()}
    for event in events:
        if event["ph"] == "X":
            spans[tracks[event["tid"]]].append(event)
    causes: dict[str, int] = {}
    for event in spans["array"]:
        causes[event["name"]] = causes.get(event["name"], 0) + event["args"]["cycles"]
    cycles = result["cycles"]
    assert causes == {name: n for name, n in cycles.items() if n and name != "total"}
    duration_us = sum(event["dur"] for event in spans["array"])
    assert duration_us == pytest.approx(cycles["total"] / 250)
    assert len(spans["weights"]) == result["activity"]["weight_tiles"]
    taken = sum(event["args"]["cycles"] for event in spans["results"])
    assert taken == result["activity"]["result_words"]


def test_toggles_are_reported_by_part(folder: Path) -> None:
    result = simulate(folder, "--engine", "fast", "--toggles")
    counts = result["word_toggles"]
    assert set(counts) == {"operands", "weights", "tree", "accumulators"}
    assert all(count > 0 for count in (counts["operands"], *counts["tree"]))
    assert "word_toggles" not in simulate(folder, "--engine", "fast")


def test_options_change_the_run(folder: Path) -> None:
    plain = simulate(folder)
    assert simulate(folder, "--tokens", 1)["layer"]["tokens"] == 1
    stalled = simulate(folder, "--stall-rate", 0.5)
    assert stalled["predicted_cycles"] is None
    assert stalled["cycles"]["total"] > plain["cycles"]["total"]
    assert stalled["stall_free_cycles"] == plain["cycles"]["total"]
    assert simulate(folder, "--pipeline", 0)["cycles"]["total"] < plain["cycles"]["total"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--saif", "x"), "--saif needs --engine gates, not rtl"),
        (("--engine", "gates", "--stall-rate", "0.5"), "engine gates takes its cycles"),
        (("--rows", "0"), "rows"),
        (("--engine", "abacus"), "engine must be one of"),
        (("--lane", "int8", "--encoding", "base3"), "weight_encoding does not apply"),
        (("--encoding", "1bit"), "weight is 0 (row 0, column 0)"),
        (("--tokens", "4"), "tokens must be from 1 to 3"),
        (("--stall-rate", "1"), "stall-rate"),
        (("--preset", "tiny", "--config", "x.toml"), "cannot both be given"),
        (("--vcd", "x.vcd", "--engine", "rtl"), "pysim"),
        (("--toggles", "--engine", "rtl"), "--toggles needs --engine fast"),
        (("--weight-bandwidth-gb-s", "0"), "weight_bandwidth_gb_s"),
        (("--burst-bytes", "0"), "burst_bytes"),
        (("--result-bus-bits", "16"), "result_bus_bits must be at least 32"),
    ],
)
def test_bad_input_is_one_line(folder: Path, options: tuple[str, ...], message: str) -> None:
    done = hwsim("simulate", "--layer", "t.safetensors", *options, folder=folder, code=2)
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert [file.name for file in folder.iterdir()] == ["t.safetensors"]


def test_a_buffer_beyond_the_table_is_priced_and_named(folder: Path) -> None:
    beyond = ("--engine", "fast", "--batch", 4096, "--max-in-features", 4096)
    assert "is beyond the largest row, 1024 KB" in simulate(folder, *beyond)["extrapolated"]
    assert simulate(folder, "--engine", "fast")["extrapolated"] is None
    done = hwsim("simulate", "--layer", "t.safetensors", *SMALL, *beyond, folder=folder)
    assert "extrapolated: energy tables: sram of" in done.stdout


def test_an_interrupted_run_leaves_nothing(folder: Path) -> None:
    arguments = ("simulate", "--preset", "default-64x64", "--engine", "pysim", "--vcd", "x.vcd")
    run = subprocess.Popen(
        [*HWSIM, *arguments],
        cwd=folder,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # Tests that run in the background may have been told to ignore it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while not any(file.name.startswith(".x.vcd") for file in folder.iterdir()):
        time.sleep(0.05)
    os.killpg(run.pid, signal.SIGINT)
    _, errors = run.communicate(timeout=60)
    assert run.returncode == 130, errors
    assert errors == "hwsim: interrupted\n"
    assert [file.name for file in folder.iterdir()] == ["t.safetensors"]


def test_a_whole_model_is_run_side_by_side_and_kept(folder: Path) -> None:
    layers = [make_layer(5, 11, 3, seed=s, name=f"b.{s}") for s in range(3)]
    trace.write(folder / "m.safetensors", layers, model="test", source="test")
    options = ("--model", "m.safetensors", *SMALL, "--check", "--jobs", 2, "--results", "kept")
    result = json.loads(hwsim("simulate", *options, "--json", "-", folder=folder).stdout)
    assert [r["layer"]["name"] for r in result["layers"]] == ["b.0", "b.1", "b.2"]
    assert result["checked"] is True
    assert result["cycles"]["total"] == result["predicted_cycles"]
    assert result["activity"]["macs"] == 3 * 5 * 11 * 3
    assert sorted(p.name for p in (folder / "kept").iterdir()) == [
        "layers", "layers.parquet", "results.json",
    ]  # fmt: skip
    assert "outputs equal numpy" in hwsim("simulate", *options, folder=folder).stdout


def test_a_folder_in_the_place_of_results_is_refused_before_the_runs(folder: Path) -> None:
    (folder / "taken/layers.parquet").mkdir(parents=True)
    done = hwsim(
        "simulate", "--model", "t.safetensors", "--results", "taken", folder=folder, code=2
    )
    assert done.stderr == "hwsim: taken/layers.parquet: cannot be written: Is a directory\n"
    assert done.stdout == ""
    assert not (folder / "taken/results.json").exists()


def test_no_output_of_a_model_takes_the_place_of_an_input(folder: Path) -> None:
    (folder / "array.toml").write_text("rows = 3\n")
    before = (folder / "t.safetensors").read_bytes()
    for options in (
        ("--model", "t.safetensors", "--json", "t.safetensors"),
        ("--model", "t.safetensors", "--config", "array.toml", "--json", "array.toml"),
        ("--layer", "t.safetensors", "--config", "array.toml", "--output", "array.toml"),
        ("--model", "t.safetensors", "--results", "kept", "--json", "kept/results.json"),
    ):
        (folder / "kept").mkdir(exist_ok=True)
        (folder / "kept/results.json").touch()
        done = hwsim("simulate", *options, folder=folder, code=2)
        assert "is read or written already" in done.stderr
    assert (folder / "t.safetensors").read_bytes() == before
    assert (folder / "array.toml").read_text() == "rows = 3\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--model", "no-such-model"), "no such model"),
        (("--model", "absent.safetensors"), "absent.safetensors: no such file"),
        (("--model", "t.safetensors", "--layer", "t.safetensors"), "cannot both be given"),
        (("--model", "t.safetensors", "--tokens", "4"), "tokens must be from 1 to 3"),
        (("--model", "bitnet-b1.58-3b", "--tokens", "0"), "tokens must be at least 1"),
        (("--model", "t.safetensors", "--toggles"), "--toggles needs --engine fast, not pysim"),
    ],
)
def test_a_bad_model_is_one_line(folder: Path, options: tuple[str, ...], message: str) -> None:
    done = hwsim("simulate", *options, *SMALL, folder=folder, code=2)
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_toggles_of_a_model_are_sampled_with_an_interval(folder: Path) -> None:
    layers = [make_layer(40, 11, 2, seed=s, name=f"b.{s}") for s in range(2)]
    trace.write(folder / "m.safetensors", layers, model="test", source="test")
    options = ("--model", "m.safetensors", *SMALL[:-1], "fast", "--toggles")

    def found(*more: object) -> dict:
        done = hwsim("simulate", *options, *more, "--json", "-", folder=folder)
        return json.loads(done.stdout)

    full, sampled = found(), found("--sample", 8)
    assert "sampled" not in full
    interval = sampled["sampled"]["word_toggles"]["total"]
    assert interval["low"] <= full["word_toggles"]["total"] <= interval["high"]
    assert interval["confidence"] == 0.95
    for result in (full, sampled):
        counts = result["word_toggles"]
        assert counts["total"] == pytest.approx(
            sum(counts["tree"])
            + sum(counts[part] for part in ("operands", "weights", "accumulators")),
            abs=len(counts["tree"]) + 4,  # estimates are rounded one by one
        )
    printed = hwsim("simulate", *options, "--sample", 8, folder=folder).stdout
    assert "from 18 of 28 row blocks" in printed
    assert f"{interval['high'] - interval['value']:,.0f}" in printed


def test_gates_are_priced_and_written(folder: Path) -> None:
    gates = ("--engine", "gates", "--energy", "gates", "--saif", "a.saif", "--netlist", "a.v")
    result = simulate(folder, *gates, "--check")
    assert result["checked"] is True
    for key in ("gates", "gates_glitch"):
        parts = result["energy_pj"][key]
        total = parts.pop("total")
        assert total == pytest.approx(sum(parts.values()))
        assert parts["accumulator"] > 0
    toggles = result["toggles"]
    assert toggles.pop("total") == sum(toggles.values())
    assert (folder / "a.saif").read_text().count("(INSTANCE lane_") == result["array"]["rows"]
    assert (folder / "a.v").read_text().startswith("module hwsim_lane (")
    # Another engine gives the outputs and cycles; the toggles are the same.
    other = simulate(folder, "--energy", "gates")
    assert other["engine"] == "pysim"
    assert other["energy_pj"]["gates"]["total"] == pytest.approx(total_of(result, "gates"))


def test_parts_are_run_side_by_side_and_said_to_be_parts(folder: Path) -> None:
    whole = simulate(folder, "--output", "whole.npy")
    result = simulate(folder, "--split", 2, "--jobs", 2, "--check", "--output", "split.npy")
    assert np.array_equal(np.load(folder / "split.npy"), np.load(folder / "whole.npy"))
    assert result["checked"] is True
    split = result["split"]
    assert [(p["first_row"], p["out_features"]) for p in split["parts"]] == [(0, 3), (3, 2)]
    for name in whole["cycles"]:
        assert result["cycles"][name] == sum(p["cycles"][name] for p in split["parts"])
    assert [p["predicted_cycles"] for p in split["parts"]] == [
        p["cycles"]["total"] for p in split["parts"]
    ]
    assert result["cycles"]["total"] == result["predicted_cycles"] == result["stall_free_cycles"]
    assert result["cycles"]["total"] > whole["cycles"]["total"]
    assert split["predicted_cycles_of_one_run"] == whole["cycles"]["total"]
    printed = hwsim(
        *("simulate", "--layer", "t.safetensors", *SMALL, "--split", 2), folder=folder
    ).stdout
    assert "2 parts: each part is a run of its own" in printed
    assert f"in one run: {whole['cycles']['total']} cycles" in printed


def total_of(result: dict, scope: str) -> float:
    return sum(result["energy_pj"][scope].values())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--output", "t.safetensors"), "t.safetensors: is read or written already"),
        (("--output", "x", "--json", "x"), "x: is read or written already"),
        (("--jobs", "2"), "--jobs is for --model or --split"),
        (("--split", "2", "--vcd", "x"), "--vcd is of one run; --split makes several"),
        (("--split", "3"), "has 2 row blocks; it cannot be split into 3 parts"),
        (("--split", "2", "--engine", "gates"), "engine gates counts in one run"),
        (("--split", "2", "--model", "t.safetensors"), "--model cannot both be given"),
        (("--zero-fraction", "0.1"), "--zero-fraction is for --model"),
    ],
)
def test_options_that_would_be_lost_are_refused(
    folder: Path, options: tuple[str, ...], message: str
) -> None:
    before = (folder / "t.safetensors").read_bytes()
    done = hwsim("simulate", "--layer", "t.safetensors", *SMALL, *options, folder=folder, code=2)
    assert message in done.stderr
    assert (folder / "t.safetensors").read_bytes() == before


def test_a_model_is_run_with_stalls(folder: Path) -> None:
    options = ("--model", "t.safetensors", *SMALL, "--stall-rate", 0.3)
    assert "without stalls it would take" in hwsim("simulate", *options, folder=folder).stdout


def test_a_damaged_build_is_made_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    options = ("--layer", "t.safetensors", *SMALL[:-1], "rtl", "--check")
    hwsim("simulate", *options, folder=folder)
    (library,) = (folder / "cache" / "hwsim").glob("rtl-*.so")
    library.write_bytes(b"nonsense")
    assert "outputs equal numpy" in hwsim("simulate", *options, folder=folder).stdout
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "t.safetensors"))
    done = hwsim("simulate", *options, folder=folder, code=2)
    assert "cannot be made a folder" in done.stderr
