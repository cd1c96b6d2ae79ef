import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hwsim import bench
from hwsim.bench import Comparison, Job, Measurement, Work, contenders, measure
from hwsim.bench.page import write_page
from hwsim.cli import main
from hwsim.config import ArrayConfig, preset

TINY = preset("tiny").replace(max_in_features=64)
JOB = Job(TINY, out_features=22, in_features=30, tokens=3)


def test_the_layer_is_seeded_and_has_its_share_of_zeros() -> None:
    job = Job(ArrayConfig(), out_features=400, in_features=500, tokens=2)
    layer = job.layer
    assert layer.zero_fraction == pytest.approx(0.42, abs=0.01)
    assert np.array_equal(layer.weight, job.layer.weight)
    assert (layer.weight == 1).sum() == pytest.approx((layer.weight == -1).sum(), rel=0.05)


def test_a_slow_simulator_gets_whole_row_blocks() -> None:
    assert JOB.within() == JOB
    assert JOB.within(cycles=JOB.cycles) == JOB
    less = JOB.within(cycles=JOB.cycles // 2)
    assert less.out_features % TINY.rows == 0
    assert TINY.rows < less.out_features < JOB.out_features
    assert less.cycles < 0.7 * JOB.cycles  # filling and draining take some of it
    assert JOB.within(cycles=1).out_features == TINY.rows
    assert JOB.within(macs=2 * TINY.rows * 30 * 3).out_features == 2 * TINY.rows


def test_rates_are_medians() -> None:
    works = (Work(1.0, 10, 100), Work(2.0, 10, 100), Work(4.0, 10, 100))
    m = Measurement("x", 0.0, works, 0.0)
    assert (m.cycles_per_s, m.macs_per_s, m.spread) == (5.0, 50.0, 4.0)
    assert Measurement("x", 0.0, (Work(1.0, None, 9),), 0.0).cycles_per_s is None


def measured(name: str) -> Measurement:
    (result,) = (e for e in measure([name], [JOB], repeat=2) if isinstance(e, Measurement))
    return result


@pytest.mark.parametrize(
    "name", ["hwsim-rtl", pytest.param("verilator", marks=pytest.mark.slow), "icarus"]
)
def test_contenders_simulate_the_cycles_of_the_layer(name: str) -> None:
    reason = contenders()[name].missing()
    if reason is not None:
        pytest.skip(reason)
    result = measured(name)
    assert len(result.works) == 2
    assert result.build_s > 0
    assert result.peak_mb > 1
    for work in result.works:
        assert work.seconds > 0
        if name == "icarus":  # its testbench plays the layer more than once
            assert work.cycles is not None
            assert work.cycles > JOB.cycles
        else:
            assert (work.cycles, work.macs) == (JOB.cycles, JOB.macs)


@pytest.mark.parametrize("name", ["int8-gemv", "memory-read"])
def test_what_the_machine_can_do_has_no_cycles(name: str) -> None:
    result = measured(name)
    assert result.cycles_per_s is None
    assert [work.macs for work in result.works] == 2 * [JOB.macs]
    assert all(work.seconds > 0 for work in result.works)


@pytest.mark.parametrize(
    "name", ["icarus-netlist", pytest.param("verilator-netlist", marks=pytest.mark.slow)]
)
def test_a_netlist_is_run_and_its_sums_are_compared(name: str, tmp_path: Path) -> None:
    contender = contenders()[name]
    reason = contender.missing()
    if reason is not None:
        pytest.skip(reason)
    run = contender.prepare(JOB, tmp_path)
    work = run()
    assert work.macs % TINY.columns == 0
    assert work.macs > 0
    vectors = tmp_path / "vectors.hex"
    first, *others = vectors.read_text().splitlines()
    # The highest bit that is 1 is of the first sum.
    bits = int(first, 16) ^ 1 << int(first, 16).bit_length() - 1
    vectors.write_text("\n".join([f"{bits:0{len(first)}x}", *others]))
    with pytest.raises(RuntimeError, match=r"netlist: [1-9]\d* of \d+ cycles wrong"):
        run()


def hwsim(*options: object, **variables: str) -> "subprocess.CompletedProcess[str]":
    program = shutil.which("hwsim", path=str(Path(sys.executable).parent))
    assert program
    return subprocess.run(
        [program, *map(str, options)], capture_output=True, text=True, env=os.environ | variables
    )


def test_the_command_reports_all_that_it_ran(tmp_path: Path) -> None:
    done = hwsim(
        "bench", "--preset", "tiny", "--out-features", 8, "--in-features", 8, "--repeat", 1,
        "--only", "hwsim-pysim", "--only", "hwsim-rtl", "--json", "-",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    content: dict[str, Any] = json.loads(done.stdout)
    assert [c["contender"] for c in content["contenders"]] == ["hwsim-pysim", "hwsim-rtl"]
    assert all(c["cycles_per_s"] > 0 for c in content["contenders"])
    assert content["absent"] == {}


def test_who_fails_is_left_out_by_name(tmp_path: Path) -> None:
    """A Verilator that refuses everything."""
    if missing := [p for p in ("make", os.environ.get("CXX", "g++")) if not shutil.which(p)]:
        pytest.skip(f"Verilator is looked for only with {', '.join(missing)}")
    fake = tmp_path / "verilator"
    fake.write_text("#!/bin/sh\necho no such thing >&2\nexit 1\n")
    fake.chmod(0o755)
    small = ("--preset", "tiny", "--out-features", 4, "--in-features", 8, "--repeat", 1)
    both = ("--only", "verilator", "--only", "hwsim-pysim")
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    done = hwsim("bench", *small, *both, "--json", "-", PATH=path)
    assert done.returncode == 0, done.stderr
    content = json.loads(done.stdout)
    assert [c["contender"] for c in content["contenders"]] == ["hwsim-pysim"]
    assert content["absent"] == {"verilator": "it failed: verilator: no such thing"}
    done = hwsim("bench", *small, *both[:2], PATH=path)
    assert done.returncode == 2
    assert done.stderr == "hwsim: verilator: it failed: verilator: no such thing\n"


def test_an_unknown_contender_is_refused() -> None:
    done = hwsim("bench", "--only", "abacus")
    assert done.returncode == 2
    assert done.stderr.startswith("hwsim: --only abacus: no such contender; known: hwsim-")


def small_model(folder: Path) -> Path:
    path = folder / "config.json"
    sizes = {"hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 3, "vocab_size": 10}
    config = {"model_type": "llama", "num_attention_heads": 2, **sizes}
    path.write_text(json.dumps(config))
    return path


def test_a_model_is_all_its_layers(tmp_path: Path) -> None:
    path = small_model(tmp_path)
    done = hwsim(
        "bench", "--preset", "tiny", "--model", path, "--tokens", 2, "--repeat", 1, "--json", "-",
        "--only", "hwsim-fast", "--only", "hwsim-fast-toggles", "--only", "int8-gemv",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    fast, toggles, bare = json.loads(done.stdout)["contenders"]
    macs = 2 * 3 * (4 * 8 * 8 + 3 * 8 * 12)
    for contender in (fast, toggles, bare):
        assert [work["macs"] for work in contender["works"]] == [macs]
    shapes = [(8, 8)] * 4 + [(12, 8)] * 2 + [(8, 12)]
    cycles = 3 * sum(Job(preset("tiny"), out, inp, tokens=2).cycles for out, inp in shapes)
    assert fast["works"][0]["cycles"] == toggles["works"][0]["cycles"] == cycles
    assert bare["works"][0]["cycles"] is None


def test_a_model_brings_its_shapes(tmp_path: Path) -> None:
    done = hwsim("bench", "--model", small_model(tmp_path), "--in-features", 8)
    assert done.returncode == 2
    assert done.stderr == "hwsim: --in-features is for a layer, without --model\n"


def test_a_page_that_cannot_be_written_is_refused_before_the_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(bench, "measure", lambda *jobs, **options: pytest.fail("it ran"))
    arguments = ["bench", "--only", "hwsim-fast", "--page", str(tmp_path / "file")]
    monkeypatch.setattr("sys.argv", ["hwsim", *arguments])
    with pytest.raises(SystemExit) as exit_:
        main()
    assert exit_.value.code == 2
    images = tmp_path / "file" / "images"
    assert capsys.readouterr().err.startswith(f"hwsim: {images}: cannot be made a folder")


def test_a_page_has_what_was_measured(tmp_path: Path) -> None:
    def compared(what: str, job: Job, *names: str) -> Comparison:
        runs = (Work(0.5, 100, 3_000_000), Work(0.25, 100, 3_000_000), Work(1.0, 100, 3_000_000))
        return Comparison(what, (job,), tuple(Measurement(n, 2.0, runs, 70.0) for n in names))

    write_page(
        str(tmp_path),
        "hwsim bench",
        compared("22 x 30", JOB, "a", "b"),
        [compared("", size, "a") for size in JOB.sizes()],
        compared("m, 7 linear layers", JOB, "a"),
        {"a": "what a does"},
        {"c": "is not there"},
    )
    page = (tmp_path / "bench.md").read_text()
    row = "| 2.0 | 200 | 1 | 6 | 1 | 0.5 | 4.00 | 70 |"
    assert f"| a {row}" in page
    assert f"| b {row}" in page
    assert "m, 7 linear layers, 3 tokens on 4 x 8 negate lanes" in page
    assert "* `a`: what a does" in page
    assert "* `c`: left out, is not there" in page
    for picture in ("bench", "growth"):
        assert (tmp_path / "images" / f"{picture}.svg").stat().st_size > 1000


def test_a_page_may_be_of_contenders_without_cycles(tmp_path: Path) -> None:
    small = ("--preset", "tiny", "--out-features", 4, "--in-features", 8, "--repeat", 1)
    done = hwsim("bench", *small, "--only", "int8-gemv", "--page", tmp_path / "page")
    assert (done.returncode, done.stderr) == (0, "")
    names = ("bench.md", "images/bench.svg", "images/growth.svg")
    assert all((tmp_path / "page" / name).is_file() for name in names)


def test_no_output_takes_the_place_of_an_input_or_of_another_output(tmp_path: Path) -> None:
    model = small_model(tmp_path)
    before = model.read_text()
    page = tmp_path / "page"
    for arguments in (
        ("--model", model, "--json", model),
        ("--page", page, "--json", page / "bench.md"),
    ):
        if page in arguments:
            page.mkdir()
            (page / "bench.md").touch()
        done = hwsim("bench", "--only", "hwsim-fast", *arguments)
        assert done.returncode == 2
        assert done.stderr.endswith("is read or written already; outputs need files of their own\n")
    assert model.read_text() == before


def test_a_short_run_is_repeated_and_its_mean_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter([0.05, 0.15, 0.1, 9.0])
    monkeypatch.setattr(bench, "_prepared", [lambda: Work(next(seconds), 40, 7)], raising=False)
    assert bench._run(1) == Work(pytest.approx(0.1), 40, 7)
    assert bench._run(1).seconds == 9
