from pathlib import Path
from typing import Any

import pydantic
import pytest

from hwsim.config import PRESETS, ArrayConfig, preset
from hwsim.errors import InputError


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"rows": 0}, "rows: input should be greater than or equal to 1, not 0"),
        ({"rows": 4097}, "rows: .*less than or equal to 1024, not 4097"),
        ({"columns": "many"}, "columns: .*not 'many'"),
        ({"batch": 1.5}, r"batch: .*not 1\.5"),
        ({"lane": "sparse"}, "lane: .*'negate'.*not 'sparse'"),
        ({"weight_encoding": "3bit"}, "weight_encoding: .*not '3bit'"),
        ({"weight_bus_bits": 12}, "weight_bus_bits: .*multiple of 8, not 12"),
        ({"activation_bus_bits": 0}, "activation_bus_bits: .*not 0"),
        ({"result_bus_bits": 5000}, "result_bus_bits: .*not 5000"),
        ({"max_in_features": 0}, "max_in_features: .*not 0"),
        ({"accumulator_bits": 33}, "accumulator_bits: .*not 33"),
        ({"pipeline": -1}, "pipeline: .*not -1"),
        ({"clock_mhz": 0}, "clock_mhz: .*not 0"),
        ({"clock_mhz": float("inf")}, "clock_mhz: .*not inf"),
        ({"clock_mhz": float("nan")}, "clock_mhz: .*not nan"),
        ({"lanes": 3}, "lanes: no such field; known: rows, columns"),
        ({"activation_bits": 16}, "activation_bits must be 8 for lane negate"),
        ({"lane": "fp16", "activation_bits": 8}, "activation_bits must be 16 for lane fp16"),
        ({"lane": "int8", "weight_encoding": "2bit"}, "weight_encoding does not apply to .*int8"),
        ({"lane": "fp16", "accumulator_bits": 24}, "accumulator_bits must be 16 or 32"),
        ({"result_bus_bits": 16}, "result_bus_bits must be at least 32"),
        ({"lane": "fp16", "activation_bus_bits": 8}, "activation_bus_bits must be at least 16"),
        (
            {"lane": "fp16", "activation_bus_bits": 24},
            "activation_bus_bits must be a multiple of 16, .* not 24",
        ),
        ({"clock_mhz": 1e-300}, "clock_mhz: .*greater than or equal to 0.001"),
        ({"clock_mhz": 1e13}, "clock_mhz: .*less than or equal to 1000000"),
        ({"clock_mhz": float("nan")}, "clock_mhz: "),
    ],
)
def test_a_refusal_is_one_line_that_names_the_field(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=f"^array: {message}") as caught:
        ArrayConfig.make(**fields)
    assert "\n" not in str(caught.value)


def test_a_refusal_begins_with_where_it_happened() -> None:
    with pytest.raises(InputError, match=r"^--array: rows: "):
        ArrayConfig.make(where="--array", rows=0)
    with pytest.raises(InputError, match=r"^--array: rows: "):
        ArrayConfig().replace(where="--array", rows=0)


def test_toml_gives_the_fields_it_names(tmp_path: Path) -> None:
    path = tmp_path / "array.toml"
    path.write_text('rows = 3\ncolumns = 7\nlane = "negate"\nclock_mhz = 500\n')
    assert ArrayConfig.from_toml(path) == ArrayConfig(rows=3, columns=7, clock_mhz=500.0)
    path.write_text('lane = "int8"\n')
    assert ArrayConfig.from_toml(path).accumulator_bits == 32


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"rows = ", "not a TOML file: "),
        (b"rows = \xff", "not a TOML file: "),
        (b"rows = 0", "rows: .*not 0"),
        (b'rows = "4"', "rows: input should be a valid integer, not '4'"),
        (b"rows = true", "rows: input should be a valid integer, not True"),
        (b"rows = 4.0", "rows: input should be a valid integer, not 4.0"),
        (b'clock_mhz = "4"', "clock_mhz: input should be a valid number, not '4'"),
        (b"clock_mhz = true", "clock_mhz: input should be a valid number, not True"),
        (b"row = 1", "row: no such field; known: rows"),
        (b"[rows]\na = 1", "rows: "),
    ],
)
def test_toml_refusals_name_the_file(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "array.toml"
    path.write_bytes(content)
    with pytest.raises(InputError, match=f"array.toml: {message}") as caught:
        ArrayConfig.from_toml(path)
    assert "\n" not in str(caught.value)


def test_a_toml_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none.toml: No such file"):
        ArrayConfig.from_toml(tmp_path / "none.toml")
    with pytest.raises(InputError, match="Is a directory"):
        ArrayConfig.from_toml(tmp_path)


@pytest.mark.parametrize("name", list(PRESETS))
def test_presets_are_arrays(name: str) -> None:
    config = preset(name)
    for field, value in PRESETS[name].items():
        assert getattr(config, field) == value


def test_an_unknown_preset_is_refused_with_those_there_are() -> None:
    with pytest.raises(InputError, match="preset 'huge': no such preset; known: default-16x16, "):
        preset("huge")


def test_a_config_cannot_be_changed() -> None:
    with pytest.raises(pydantic.ValidationError):
        ArrayConfig().rows = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("lane", "activation", "accumulator", "encoding"),
    [("negate", 8, 24, "2bit"), ("int8", 8, 32, None), ("fp16", 16, 16, None)],
)
def test_a_lane_brings_its_defaults(
    lane: str, activation: int, accumulator: int, encoding: str | None
) -> None:
    made = ArrayConfig.make(lane=lane)
    assert (made.activation_bits, made.accumulator_bits) == (activation, accumulator)
    assert made.weight_encoding == encoding
    for start in ("negate", "int8", "fp16"):
        assert ArrayConfig.make(lane=start).replace(lane=lane) == made


def test_replace_keeps_what_was_chosen() -> None:
    config = ArrayConfig(rows=3, pipeline=2, accumulator_bits=20)
    other = config.replace(lane="carry-fold")
    assert (other.rows, other.pipeline, other.accumulator_bits) == (3, 2, 20)
    assert config.replace(rows=5) == ArrayConfig(rows=5, pipeline=2, accumulator_bits=20)


def test_a_lane_of_other_numbers_brings_its_own_widths() -> None:
    config = ArrayConfig(
        rows=3, lane="grouped", group=3, weight_encoding="base3", accumulator_bits=16,
        result_bus_bits=16,
    )  # fmt: skip
    other = config.baseline("int8")
    assert (other.rows, other.group, other.weight_encoding) == (3, None, None)
    assert (other.accumulator_bits, other.result_bus_bits) == (32, 32)
    assert config.baseline("fp16").result_bus_bits == 16
    narrow = config.replace(activation_bus_bits=8)
    assert narrow.baseline("int8").activation_bus_bits == 8
    assert narrow.baseline("fp16").activation_bus_bits == 16
    assert narrow.replace(activation_bus_bits=24).baseline("fp16").activation_bus_bits == 32
    back = other.replace(lane="carry-fold")
    assert (back.accumulator_bits, back.weight_encoding, back.group) == (24, "2bit", None)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"lane": "negate", "group": 2}, "group does not apply to lane negate"),
        ({"lane": "grouped", "group": 4}, "group: input should be 2 or 3, not 4"),
        ({"lane": "int8", "weight_encoding": "base3"}, "weight_encoding does not apply"),
        ({"weight_encoding": "4bit"}, "weight_encoding: input should be '1bit', '2bit' or"),
        ({"memory": "abacus"}, "memory: input should be 'hbm2', "),
    ],
)
def test_fields_that_do_not_fit_the_lane_are_refused(
    fields: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        ArrayConfig.make(**fields)


@pytest.mark.parametrize(
    ("in_features", "grown"), [(1, 64), (64, 64), (65, 128), (128, 128), (129, 256), (6912, 8192)]
)
def test_the_buffer_grows_to_the_next_power_of_two(in_features: int, grown: int) -> None:
    config = ArrayConfig(max_in_features=64)
    assert config.for_in_features(in_features) == config.replace(max_in_features=grown)


def test_sums_that_could_leave_the_accumulator_are_refused() -> None:
    config = ArrayConfig(accumulator_bits=16, max_in_features=1024)
    config.check_in_features(255, where="layer x")  # 255 * 128 = 2**15 - 128
    with pytest.raises(
        InputError, match=r"^layer x: 256 inputs .* 32768, .* accumulator_bits = 16"
    ):
        config.check_in_features(256, where="layer x")
    int8 = ArrayConfig(lane="int8", accumulator_bits=24, max_in_features=1024)
    int8.check_in_features(511, where="layer x")
    with pytest.raises(InputError, match=r"^layer x: 512 inputs"):
        int8.check_in_features(512, where="layer x")
    ArrayConfig(lane="fp16").check_in_features(8192, where="layer x")


def test_a_layer_longer_than_the_buffer_is_refused() -> None:
    with pytest.raises(InputError, match=r"^layer x: in_features is 65, but max_in_features .* 64"):
        ArrayConfig(max_in_features=64).check_in_features(65, where="layer x")


def test_derived_widths() -> None:
    config = ArrayConfig(rows=3, columns=7, weight_bus_bits=32, accumulator_bits=13)
    assert (config.weight_row_bytes, config.tile_bytes, config.tile_words) == (2, 6, 2)
    assert (config.result_bits, config.results_per_word) == (16, 2)
    assert [ArrayConfig(columns=8, pipeline=p).lane_latency for p in (0, 1, 2, 3, 4)] == [
        0,
        3,
        1,
        1,
        0,
    ]
    assert ArrayConfig(columns=1).lane_latency == 0


@pytest.mark.parametrize("text", ['where = "x"', "cls = 4", '"a\\nb" = 1', "x = " + "[" * 3000])
def test_a_file_with_other_keys_is_refused_in_one_line(text: str, tmp_path: Path) -> None:
    file = tmp_path / "array.toml"
    file.write_text(text)
    with pytest.raises(InputError) as caught:
        ArrayConfig.from_toml(file)
    assert str(caught.value).startswith(str(file))
    assert "\n" not in str(caught.value)
