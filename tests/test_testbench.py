import json
import re
import shlex
import subprocess
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benches import FOLDED, icarus, needs_icarus
from hypothesis import given
from hypothesis import strategies as st
from layers import make_layer
from strategies import arrays
from test_verilog import VERILATOR, needs_verilator
from typer.testing import CliRunner

from hwsim import streams
from hwsim.cli import app
from hwsim.config import ArrayConfig, preset
from hwsim.engines import schedule_of
from hwsim.engines.stalls import Stalls
from hwsim.errors import InputError
from hwsim.layer import Layer
from hwsim.operands import operands_of, reference
from hwsim.predict import predict_cycles
from hwsim.schedule import Schedule
from hwsim.testbench import make_testbench
from hwsim.verilog import to_verilog

CONFIGS = {
    "carry-fold": FOLDED,
    "1x1": FOLDED.replace(rows=1, columns=1, batch=1, weight_bus_bits=8, result_bus_bits=32),
    "negate": FOLDED.replace(lane="negate", weight_encoding="2bit", columns=7, pipeline=0),
    "pairs": FOLDED.replace(lane="grouped", weight_encoding="1bit", activation_bus_bits=24),
    "threes": FOLDED.replace(lane="grouped", group=3, weight_bus_bits=40, accumulator_bits=17),
    "int8": FOLDED.baseline("int8").replace(result_bus_bits=32, pipeline=2),
    "fp16": FOLDED.baseline("fp16").replace(rows=4, columns=2, batch=5),
    "small buffer": FOLDED.replace(max_in_features=16),
}


def a_layer(config: ArrayConfig, out: int = 11, inp: int = 22, tokens: int = 10) -> Layer:
    zero = 0.0 if config.weight_encoding == "1bit" else 0.4
    return make_layer(out, inp, tokens, seed=5, zero=zero)


def with_core(
    layer: Layer, config: ArrayConfig, registers: str | None = None, **options: Any
) -> dict[str, str]:
    """Return a testbench with its core."""
    files = make_testbench(layer, config, source="core.v", registers=registers, **options)
    core = to_verilog(schedule_of(layer, config).config, registers=registers)
    return {"core.v": core, **files}


@pytest.fixture(scope="module")
def folded() -> Mapping[str, str]:
    return with_core(a_layer(FOLDED), FOLDED)


@needs_icarus
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_the_core_passes_in_the_predicted_cycles(config: ArrayConfig, tmp_path: Path) -> None:
    layer = a_layer(config)
    cycles = predict_cycles(schedule_of(layer, config)).total
    assert icarus(with_core(layer, config), tmp_path) == (0, f"PASS cycles={cycles}\n")


@needs_icarus
def test_the_registers_are_played_likewise(tmp_path: Path) -> None:
    layer = a_layer(FOLDED)
    files = with_core(layer, FOLDED, registers="axi-lite")
    cycles = predict_cycles(schedule_of(layer, FOLDED)).total
    assert icarus(files, tmp_path) == (0, f"PASS cycles={cycles}\n")
    for change in (
        (r"\.rdata\(s_axil_rdata\)", ".rdata()"),
        (r"(command__valid = )start", r"\1~start"),
        (r"= awvalid & awready", "= 1'b0"),
        (r"(= write & strobes)\[1\]", r"\1[1] & 1'b0"),
    ):
        changed, count = re.subn(*change, files["core.v"], count=1)
        assert count == 1
        code, printed = icarus({**files, "core.v": changed}, tmp_path)
        assert (code, printed[:5]) == (1, "FAIL ")


# The results are made in the serializer, whose ports for them have no names of their own.
_TLAST = r"(assign m_axis_result_tlast = )"
_TDATA = r"(assign m_axis_result_tdata = )"

MUTATIONS = {
    "an operator of the lane": (r"(\nmodule hwsim_lane\((?:.*\n)+?  assign .*\)) [-+] ", r"\1 ^ "),
    "a carry of the lane": (r"(, weights)\[1\]( \})", r"\1[0]\2"),
    "a bit of the base-3 table": (r"(\[121\] = 11'h)000", r"\g<1>001"),
    "an illegal code in the base-3 table": (r"(\[250\] = 11'h)400", r"\g<1>000"),
    "the reset": (r"\.rst\(rst\)", ".rst(1'b0)"),
    "a flag": (r"(\n    busy <= )(\w+)", r"\1~\2"),
    "tlast": (_TLAST, r"\1~"),
    "a bit of the results": (_TDATA, r"\g<1>32'h100000 ^ "),
    "an X in the results": (_TDATA, r"\g<1>1'bx ^ "),
    "an X on an output": (r"\.busy\(busy\)", ".busy()"),
    "a stall that is not counted": (r"(= result_stall \+ 1')h1", r"\1h0"),
    "the cause of a stall": (r"(= room \? )(\w+) : (\S+);", r"\1\3 : \2;"),
    "what is written to a memory": (r"if \(write\) words", "if (!write) words"),
    "the enable of a write": (r"if \(write__en\)", "if (1'b1)"),
}


@needs_icarus
@pytest.mark.parametrize("name", MUTATIONS)
def test_a_core_that_is_changed_in_one_place_fails(
    name: str, folded: Mapping[str, str], tmp_path: Path
) -> None:
    changed, count = re.subn(*MUTATIONS[name], folded["core.v"], count=1)
    assert count == 1
    code, printed = icarus({**folded, "core.v": changed}, tmp_path)
    assert code == 1
    assert re.fullmatch(r"FAIL [^\n]+, cycle \d+: [^\n]+\n", printed)


@needs_icarus
def test_a_reset_of_the_control_is_enough(folded: Mapping[str, str], tmp_path: Path) -> None:
    """Registers and memories hold X at power-up, as they might on a chip."""
    text = folded["core.v"]
    bare = re.sub(r"(\n  reg [^=\n]*) = [^;\n]*;", r"\1;", text)
    bare = re.sub(r"\n    memory\[\d+\] = .*", "", bare)
    assert len(re.findall(r"\n  reg .* = ", text)) > 50
    assert re.findall(r"\n  reg .* = ", bare) == []
    code, printed = icarus({**folded, "core.v": bare}, tmp_path)
    assert (code, printed[:5]) == (0, "PASS ")


@needs_icarus
def test_other_vectors_than_the_layer_has_fail(folded: Mapping[str, str], tmp_path: Path) -> None:
    words = folded["core_tb.result.hex"]
    flipped = f"{int(words[15], 16) ^ 1:x}"
    files = {**folded, "core_tb.result.hex": words[:15] + flipped + words[16:]}
    code, printed = icarus(files, tmp_path)
    assert code == 1
    assert re.match(r"FAIL the run without stalls, cycle \d+: result word 0 is ", printed)


@needs_icarus
def test_pieces_of_the_layer_are_played(folded: Mapping[str, str], tmp_path: Path) -> None:
    *words, last = folded["core_tb.result.hex"].split()
    flipped = f"{int(last, 16) ^ 1:0{len(last)}x}"
    files = {**folded, "core_tb.result.hex": "\n".join([*words, flipped])}
    code, printed = icarus(files, tmp_path)
    assert code == 1
    assert re.match(
        rf"FAIL a piece of the layer, cycle \d+: result word \d+ .* {flipped}\n", printed
    )


def test_what_fills_tiles_and_words_is_not_zero() -> None:
    layer = a_layer(FOLDED, out=1, inp=1, tokens=2)
    files = make_testbench(layer, FOLDED, source="core.v")
    activations = files["core_tb.activation.hex"].split()
    assert [int(word[-2:], 16) for word in activations[:2]] == [
        value % 256 for value in layer.activation[:, 0].tolist()
    ]
    assert all(int(word[:-2], 16) for word in activations)
    tile = bytes.fromhex("".join(reversed(files["core_tb.weight.hex"].split())))[::-1]
    assert 121 not in tile[: FOLDED.tile_bytes]


@given(
    config=arrays(),
    shape=st.tuples(st.integers(1, 20), st.integers(1, 24), st.integers(1, 12)),
)
def test_result_words_are_what_outputs_undoes(
    config: ArrayConfig, shape: tuple[int, int, int]
) -> None:
    layer = a_layer(config, *shape)
    schedule = schedule_of(layer, config)
    sums = reference(operands_of(layer, config), config)
    words = streams.result_words(sums, schedule)
    assert words.shape == (schedule.result_words, config.result_bus_bits // 8)
    assert np.array_equal(streams.outputs(words, schedule), sums)


@pytest.mark.parametrize(("bits", "dtype"), [(16, np.float16), (32, np.float32)])
def test_every_nan_is_the_one_of_the_hardware(bits: int, dtype: type) -> None:
    config = ArrayConfig(lane="fp16", rows=2, accumulator_bits=bits)
    schedule = Schedule(config=config, out_features=2, in_features=1, tokens=1)
    sums = np.array([[-np.nan, -0.0]], dtype)
    words = streams.result_words(sums, schedule)
    expected = np.array([np.nan, -0.0], dtype).tobytes()
    assert words.tobytes() == expected


def command_line(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["verilog", *map(str, arguments)], catch_exceptions=True)


@needs_icarus
def test_the_printed_command_runs_the_shipped_layer(tmp_path: Path) -> None:
    folder = tmp_path / "a folder"
    folder.mkdir()
    core = folder / "core.v"
    result = command_line("-o", core, "--testbench", "shipped", "--tokens", 3)
    assert result.exit_code == 0
    assert {file.name for file in folder.iterdir()} == {
        "core.v",
        "core.core",
        "core_tb.v",
        *(f"core_tb.{port}.hex" for port in ("weight", "activation", "result")),
    }
    assert shlex.split(result.stdout)[:4] == ["cd", "--", str(folder), "&&"]
    done = subprocess.run(result.stdout, shell=True, capture_output=True, text=True, timeout=300)
    schedule = Schedule(config=preset("default-16x16"), out_features=360, in_features=120, tokens=3)
    assert done.stdout == f"PASS cycles={predict_cycles(schedule).total}\n"


@needs_verilator
@pytest.mark.slow
def test_verilator_passes_and_fails_likewise(folded: Mapping[str, str], tmp_path: Path) -> None:
    cycles = predict_cycles(schedule_of(a_layer(FOLDED), FOLDED)).total
    wrong = re.sub(_TLAST, r"\1~", folded["core.v"], count=1)
    for name, core, line, code in (
        ("right", folded["core.v"], f"PASS cycles={cycles}", 0),
        ("wrong", wrong, "FAIL the run without stalls", 1),
    ):
        folder = tmp_path / name
        folder.mkdir()
        for file, text in {**folded, "core.v": core}.items():
            (folder / file).write_text(text)
        # The command in the testbench's first lines.
        lines = folded["core_tb.v"].replace(" \\\n//    ", "").splitlines()
        (command,) = (x.partition("$ verilator ")[2] for x in lines if "$ verilator " in x)
        done = subprocess.run(
            f"{shlex.quote(str(VERILATOR))} {command}",
            shell=True, cwd=folder, capture_output=True, text=True, timeout=600,
        )  # fmt: skip
        lines = [x for x in done.stdout.splitlines() if x.startswith(("PASS", "FAIL"))]
        assert len(lines) == 1
        assert lines[0].startswith(line)
        assert bool(done.returncode) == bool(code)


def test_the_fusesoc_description_names_the_files(folded: Mapping[str, str]) -> None:
    head, _, rest = folded["core.core"].partition("\n")
    assert head == "CAPI=2:"
    description = json.loads(rest)
    assert description["name"] == f"hwsim:arrays:core:{metadata.version('hwsim')}"
    rtl, tb = (description["filesets"][name]["files"] for name in ("rtl", "tb"))
    named = {*rtl, *(name for file in tb for name in file)}
    assert named == folded.keys() - {"core.core"}
    assert set(description["targets"]) == {"default", "sim", "lint"}


def test_each_option_changes_the_testbench(tmp_path: Path) -> None:
    @cache
    def files(*options: object) -> dict[str, str]:
        shared = ("--preset", "tiny", "--testbench", "shipped", "-o", tmp_path / "core.v")
        assert command_line(*shared, *options).exit_code == 0
        return {file.name: file.read_text() for file in tmp_path.iterdir()}

    random = ("--activations", "random", "--tokens", 2)
    integers = ("--lane", "int8", "--tokens", 2)
    for few, more, changed in (
        (("--tokens", 2), ("--tokens", 3), "core_tb.result.hex"),
        (("--tokens", 2), ("--tokens", 2, "--stall-seed", 1), "core_tb.v"),
        (("--tokens", 2), ("--tokens", 2, "--stall-rate", 0.5), "core_tb.v"),
        (("--tokens", 2), random, "core_tb.activation.hex"),
        (random, (*random, "--seed", 1), "core_tb.activation.hex"),
        (integers, (*integers, "--operands", "full"), "core_tb.weight.hex"),
    ):
        assert files(*few)[changed] != files(*more)[changed], more


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-o", "a b.v"], r"a b\.v: a file with a testbench beside it must end in \.v or \.sv "),
        (["-o", "core.core"], r"core\.core: a file with a testbench beside it must end"),
        (["-o", "no/core.v"], r"no/.*: cannot be written: No such file or directory"),
        (["-o", "core.v", "--stall-rate", "1"], "stall-rate must be at least 0 and below 1"),
        (["-o", "core.v", "--tokens", "99"], "tokens must be from 1 to 32, not 99"),
        (["-o", "core.v", "--encoding", "1bit"], "weight is 0 .*, which weight_encoding 1bit"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_refused_and_writes_nothing(
    options: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = command_line("--preset", "tiny", "--testbench", "shipped", *options)
    assert isinstance(result.exception, InputError)
    assert re.search(f"^[^\n]*{message}[^\n]*$", str(result.exception))
    assert list(tmp_path.iterdir()) == []


def test_stalls_are_those_of_the_engines(tmp_path: Path) -> None:
    layer, stalls = a_layer(FOLDED), Stalls(0.5, 3)
    text = make_testbench(layer, FOLDED, source="core.v", stalls=stalls)["core_tb.v"]
    assert f".STALL_THRESHOLD(32'd{1 << 31})" in text
    assert f".RESULT_DRAWS(64'd{stalls.start(2)})" in text
