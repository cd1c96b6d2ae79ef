import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from layers import make_layer
from numpy.typing import NDArray

from hwsim import parallel, streams
from hwsim.config import ArrayConfig, preset
from hwsim.engines import HardwareFault, Run, gates, run, schedule_of
from hwsim.engines.stalls import Stalls
from hwsim.errors import InputError
from hwsim.gates import decoding, export
from hwsim.gates.designs import Netlists, netlists
from hwsim.gates.library import load
from hwsim.gates.netlist import Netlist
from hwsim.layer import Layer
from hwsim.operands import operands_of, reference
from hwsim.predict import predict

TINY = preset("tiny").replace(result_bus_bits=64)
FOLDED = TINY.replace(lane="carry-fold", weight_encoding="base3", columns=5, weight_bus_bits=24)
ODD = TINY.replace(rows=3, columns=3, batch=5, weight_encoding="1bit", accumulator_bits=17)
PAIRS = TINY.replace(lane="grouped", rows=3, columns=5, pipeline=0)
INTEGERS = TINY.replace(lane="int8", rows=2, columns=3, pipeline=2)
FLOATS = TINY.replace(lane="fp16", rows=2, columns=2)
LANES = pytest.mark.parametrize(
    "config",
    [FOLDED, ODD, PAIRS, INTEGERS, FLOATS],
    ids=["carry-fold", "negate", "grouped", "int8", "fp16"],
)


def layer_for(config: ArrayConfig, shape: tuple[int, int, int], seed: int = 0) -> Layer:
    return make_layer(*shape, seed, zero=0.0 if config.weight_encoding == "1bit" else 0.4)


@LANES
@settings(max_examples=8)
@given(
    shape=st.tuples(st.integers(1, 30), st.integers(1, 20), st.integers(1, 12)),
    seed=st.integers(0, 99),
)
def test_outputs_and_counts_are_those_of_numpy_and_the_prediction(
    config: ArrayConfig, shape: tuple[int, int, int], seed: int
) -> None:
    layer = layer_for(config, shape, seed)
    result = run(layer, config, engine="gates")
    expected = reference(operands_of(layer, config), config)
    assert result.outputs.dtype == expected.dtype
    assert np.array_equal(result.outputs, expected, equal_nan=True)
    out, inp, tokens = shape
    nonzero = int(np.count_nonzero(operands_of(layer, config).weight))
    assert result.activity == predict(
        config, out_features=out, in_features=inp, tokens=tokens, nonzero=nonzero
    )


def steps_of(
    layer: Layer, config: ArrayConfig, made: Netlists
) -> tuple[list[dict[str, NDArray[np.uint8]]], list[NDArray[np.uint8]]]:
    """Return the inputs of each lane by port, and the activations, step by step; zeros first."""
    operands = operands_of(layer, config)
    rows, columns, batch = config.rows, config.columns, config.batch
    row_blocks, blocks = -(-layer.out_features // rows), -(-layer.in_features // columns)
    fill = 1 if config.weight_encoding == "1bit" else 0
    weight = np.full((row_blocks * rows, blocks * columns), fill, operands.weight.dtype)
    weight[: layer.out_features, : layer.in_features] = operands.weight
    activation = np.zeros((layer.tokens, blocks * columns), operands.activation.dtype)
    activation[:, : layer.in_features] = operands.activation
    tile = {port: np.zeros(len(nets), np.uint8) for port, nets in made.lane.inputs.items()}
    lanes = [{port: [bits] for port, bits in tile.items()} for _ in range(rows)]
    words = [np.zeros(columns * config.activation_bits, np.uint8)]
    bank = np.zeros((2, batch, rows), np.int64)
    passed = 0
    for start in range(0, layer.tokens, batch):
        for row_block in range(row_blocks):
            held = bank[passed % 2]
            passed += 1
            for block in range(blocks):
                place = slice(block * columns, (block + 1) * columns)
                for token, values in enumerate(activation[start : start + batch, place]):
                    words.append(bits_of(values))
                    for row, lane in enumerate(lanes):
                        trits = weight[row_block * rows + row, place]
                        before = int(held[token, row])
                        lane["weights"].append(weight_bits(trits, config, made))
                        lane["accumulator"].append(number_bits(before, config.accumulator_bits))
                        lane["first"].append(number_bits(block == 0, 1))
                        dot = int(trits.astype(int) @ values.astype(int))
                        held[token, row] = (before if block else 0) + dot
    operand_nets = list(made.shared.outputs["operands"])
    prepared = made.shared.settle(np.array(words))[:, operand_nets]
    for lane in lanes:
        lane["operands"] = list(prepared)
    return [{port: np.array(bits) for port, bits in lane.items()} for lane in lanes], words


def bits_of(values: NDArray[np.generic]) -> NDArray[np.uint8]:
    return np.unpackbits(np.ascontiguousarray(values).view(np.uint8), bitorder="little")


def number_bits(value: int, width: int) -> NDArray[np.uint8]:
    return np.array([value >> place & 1 for place in range(width)], np.uint8)


def weight_bits(
    trits: NDArray[np.generic], config: ArrayConfig, made: Netlists
) -> NDArray[np.uint8]:
    if not config.is_ternary:
        return bits_of(trits)
    codes = np.array([[trit != 0, trit < 0] for trit in trits], np.uint8).ravel()
    codes = np.pad(codes, (0, config.tile_row_bits - len(codes)))
    if made.recoder is None:
        return codes
    nets = list(made.recoder.outputs["recoded"])
    return made.recoder.settle(codes.reshape(config.tree_inputs, -1))[:, nets].ravel()


def toggles_of(netlist: Netlist, inputs: NDArray[np.uint8]) -> NDArray[np.int64]:
    values = netlist.settle(inputs).astype(np.int64)
    return np.abs(np.diff(values, axis=0)).sum(axis=0)


# The last one takes more steps than a block of the kernel has.
@pytest.mark.parametrize("shape", [(1, 1, 1), (7, 12, 5), (20, 23, 17), (27, 23, 29)], ids=str)
@pytest.mark.parametrize(
    "config", [FOLDED, ODD, PAIRS, INTEGERS], ids=["carry-fold", "negate", "grouped", "int8"]
)
def test_toggles_are_those_of_one_gate_after_the_other(
    config: ArrayConfig, shape: tuple[int, int, int]
) -> None:
    layer = layer_for(config, shape)
    counted = run(layer, config, engine="gates", high=True).gates
    assert counted is not None
    assert counted.lane_high is not None
    made = netlists(config)
    lanes, words = steps_of(layer, config, made)
    assert np.array_equal(counted.shared, toggles_of(made.shared, np.array(words)))
    for row, lane in enumerate(lanes):
        inputs = np.hstack([lane[port] for port in made.lane.inputs])
        assert np.array_equal(counted.lane[row], toggles_of(made.lane, inputs))
        high = made.lane.settle(inputs)[1:].astype(np.int64).sum(axis=0)
        assert np.array_equal(counted.lane_high[row], high)


@LANES
@pytest.mark.parametrize(
    ("steps", "held", "piece"), [(1, 1 << 20, 1 << 20), (1 << 20, 400, 1 << 20), (50, 1, 1)]
)
def test_counts_do_not_depend_on_how_steps_and_weights_are_cut(
    config: ArrayConfig, steps: int, held: int, piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = layer_for(config, (20, 23, 17))
    whole = run(layer, config, engine="gates", high=True)
    monkeypatch.setattr(gates, "_SEGMENT_STEPS", steps)
    monkeypatch.setattr(decoding, "_HELD_BYTES", held)
    monkeypatch.setattr(streams, "PIECE", piece)
    for module in (gates, decoding, parallel):
        monkeypatch.setattr(module, "processors", lambda: 3)
    cut = run(layer, config, engine="gates", high=True)
    assert np.array_equal(whole.outputs, cut.outputs, equal_nan=True)
    assert whole.gates is not None
    assert cut.gates is not None
    for counts in ("lane", "lane_high", "shared", "decoder", "recoder"):
        assert np.array_equal(getattr(whole.gates, counts), getattr(cut.gates, counts))


def test_picks_may_take_more_words_than_trits() -> None:
    config = ArrayConfig(rows=5, columns=32, batch=2, lane="grouped", group=3)
    layer = layer_for(config, (11, 70, 3))
    assert config.tile_row_bits > 64 == config.columns * config.weight_bits
    assert np.array_equal(
        run(layer, config, engine="gates").outputs, reference(operands_of(layer, config), config)
    )


def test_decoders_are_counted_from_word_to_word_and_again_for_each_token_block() -> None:
    layer = layer_for(FOLDED, (9, 11, 5))
    activity = run(layer, FOLDED, engine="gates").gates
    assert activity is not None
    schedule = schedule_of(layer, FOLDED)
    words = streams.weight_words(operands_of(layer, FOLDED).weight, schedule)
    sequence = np.concatenate([np.zeros_like(words[:1]), *[words] * schedule.token_blocks])
    decoder = netlists(FOLDED).decoder
    expected = 0
    for place in range(words.shape[1]):
        bits = np.unpackbits(sequence[:, place, None], axis=1, bitorder="little")
        counts = toggles_of(decoder, bits)
        expected += int(counts[[gate.output for gate in decoder.gates]].sum())
    assert activity.toggles()["decode"] == expected > 0


@pytest.mark.parametrize("at", [0.0, 0.3, 0.6, 0.99])
def test_an_inverted_gate_is_noticed(at: float, monkeypatch: pytest.MonkeyPatch) -> None:
    made = netlists(FOLDED)
    flipped = list(made.lane.gates)
    index = int(at * len(flipped))
    cell = flipped[index].cell
    inverted = cell.truth ^ ((1 << (1 << len(cell.inputs))) - 1)
    flipped[index] = replace(flipped[index], cell=replace(cell, truth=inverted))
    lane = replace(made.lane, gates=tuple(flipped))
    monkeypatch.setattr(gates, "netlists", lambda config: replace(made, lane=lane))
    with pytest.raises(HardwareFault, match=r"^layer test: lane \d.* differs .* in step \d+"):
        run(layer_for(FOLDED, (20, 23, 17)), FOLDED, engine="gates")


def test_a_flipped_bit_in_the_weights_is_noticed_where_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    layer = layer_for(ODD, (7, 9, 4))
    words = streams.weight_words(operands_of(layer, ODD).weight, schedule_of(layer, ODD)).copy()
    # Row block 1, column block 2, lane 1: tiles are of one word, rows of one byte.
    words[1 * 3 + 2, 1] ^= 1
    monkeypatch.setattr(streams, "weight_words", lambda *_: words)
    found = r"lane 1 \(output 4\) .* in step 20 \(column block 2, token 0\)"
    with pytest.raises(HardwareFault, match=found):
        run(layer, ODD, engine="gates")


def test_an_illegal_weight_code_is_reported_with_its_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    layer = layer_for(FOLDED, (8, 5, 2))
    schedule = schedule_of(layer, FOLDED)
    words = streams.weight_words(operands_of(layer, FOLDED).weight, schedule).copy()
    words[FOLDED.tile_words, 1] = 250
    monkeypatch.setattr(streams, "weight_words", lambda *_: words)
    with pytest.raises(HardwareFault, match="illegal weight code 0xfa in tile 1, row 1"):
        run(layer, FOLDED, engine="gates")


def test_stalls_are_refused() -> None:
    with pytest.raises(InputError, match="gates takes its cycles from the schedule"):
        run(layer_for(TINY, (2, 2, 1)), TINY, engine="gates", stalls=Stalls(0.5, 1))


@pytest.mark.skipif(not shutil.which("iverilog"), reason="Icarus is not installed")
def test_toggles_are_those_that_icarus_writes_net_by_net(tmp_path: Path) -> None:
    layer = layer_for(FOLDED, (6, 12, 5))
    activity = run(layer, FOLDED, engine="gates").gates
    assert activity is not None
    made = netlists(FOLDED)
    lanes, _ = steps_of(layer, FOLDED, made)
    for row, lane in enumerate(lanes):
        counts = toggles_in_icarus(made.lane, lane, FOLDED.lane_latency, tmp_path)
        for net, name in enumerate(export.net_names(made.lane)):
            if net > 1:
                assert counts.get(name, 0) == activity.lane[row, net], name


def toggles_in_icarus(
    netlist: Netlist, inputs: dict[str, NDArray[np.uint8]], latency: int, folder: Path
) -> dict[str, int]:
    """Simulate a lane, clock by clock; return the changes of each net in its VCD file.

    What belongs to the accumulator comes `latency` cycles later; the first step is there until
    all has settled.
    """
    late = {"accumulator": latency, "first": latency}
    declared, wired, vectors = [], [], []
    steps = len(inputs["first"])
    for port, bits in inputs.items():
        width = bits.shape[1]
        declared.append(
            f"reg [{width - 1}:0] {port}; reg [{width - 1}:0] {port}_v [0:{steps - 1}];"
        )
        wired.append(f".{port}({port})")
        values = ["".join(map(str, row[::-1])) for row in bits]
        (folder / f"{port}.hex").write_text("\n".join(values) + "\n")
        vectors.append(f'$readmemb("{port}.hex", {port}_v);')
    drive = " ".join(f"{port} <= {port}_v[at({late.get(port, 0)})];" for port in inputs)
    bench = f"""
module bench;
  reg clk = 0; integer t = -{latency + 1};
  {" ".join(declared)}
  {netlist.top} lane (.clk(clk), {", ".join(wired)});
  function integer at(input integer late);
    at = t - late < 0 ? 0 : t - late > {steps - 1} ? {steps - 1} : t - late;
  endfunction
  initial begin
    {" ".join(vectors)}
    repeat ({latency + 2}) begin {drive} #1 clk = 1; #1 clk = 0; end
    $dumpfile("lane.vcd"); $dumpvars(1, lane);
    for (t = 0; t < {steps + latency + 1}; t = t + 1) begin
      #1 clk = 1; {drive} #1 clk = 0;
    end
    #1 $finish;
  end
endmodule
"""
    text = export.verilog(netlist) + export.cell_models(load()) + bench
    (folder / "bench.v").write_text(text)
    for command in (["iverilog", "-g2012", "-o", "bench", "bench.v"], ["vvp", "bench"]):
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return changes(folder / "lane.vcd")


def changes(vcd: Path) -> dict[str, int]:
    """Return the changes of each bit of a VCD file; what an unknown value becomes is none."""
    names: dict[str, tuple[str, int]] = {}
    values: dict[str, str] = {}
    counts: dict[str, int] = {}
    header, body = vcd.read_text().split("$enddefinitions $end")
    for line in header.splitlines():
        if line.startswith("$var"):
            _, _, width, code, name, *_ = line.split()
            names.setdefault(code, (name, int(width)))
    for line in body.splitlines():
        words = line.split()
        if not words or words[0][0] not in "01xb":
            continue
        value, code = (words[0][1:], words[1]) if words[0][0] == "b" else (line[0], line[1:])
        name, bits = names[code]
        value = value.rjust(bits, "x" if value[0] == "x" else "0")
        for place, (old, new) in enumerate(
            zip(reversed(values.get(code, "x" * bits)), reversed(value), strict=True)
        ):
            if old != new and "x" not in (old, new):
                bit = f"{name}[{place}]" if bits > 1 else name
                counts[bit] = counts.get(bit, 0) + 1
        values[code] = value
    return counts


def priced() -> Run:
    return run(layer_for(PAIRS, (6, 12, 5)), PAIRS, engine="gates", samples=64, high=True)


def test_saif_has_every_net_of_every_lane() -> None:
    activity = priced().gates
    assert activity is not None
    assert activity.lane_high is not None
    text = export.saif(activity)
    nets = len(activity.netlists.lane.input_nets) + len(activity.netlists.lane.gates)
    assert text.count("(TC ") == nets * PAIRS.rows
    assert text.count("(INSTANCE lane_") == PAIRS.rows
    assert text.count("(") == text.count(")")
    net = activity.netlists.lane.inputs["first"][0]
    high, moved = int(activity.lane_high[2, net]), int(activity.lane[2, net])
    low = activity.steps - high
    line = f"(first (T0 {low * 1000}) (T1 {high * 1000}) (TX 0) (TC {moved}) (IG 0))"
    assert line in text.split("lane_2")[1]


def test_names_in_verilog_are_names() -> None:
    bare = Netlist("top", ("zero", "one", "$0\\x[1:0]"), {}, {}, ())
    assert export.net_names(bare)[2] == "n2_0_x_1_0"
    names = export.net_names(netlists(PAIRS).lane)[2:]
    assert all(re.fullmatch(r"[a-z]\w*(\[\d+\])?", name) for name in names)
    assert len(set(names)) == len(names)


def test_parts_make_the_total_and_glitches_only_add() -> None:
    activity = priced().gates
    assert activity is not None
    library = load()
    toggles, energy = activity.toggles(), activity.energy_pj(library)
    glitch = activity.energy_pj(library, glitches=True)
    assert [*toggles] == [*energy] == [*glitch]
    for parts in (toggles, energy, glitch):
        total = parts.pop("total")
        assert total == pytest.approx(sum(parts.values()))
    assert all(glitch[part] >= energy[part] for part in energy)
    assert glitch["accumulator"] > energy["accumulator"] > 0
    # A longer run costs the clock of the registers, here none, and no toggle.
    assert replace(activity, cycles=activity.cycles + 9).energy_pj(library)["registers"] == 0
