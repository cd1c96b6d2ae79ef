"""`ArrayConfig`: every parameter of the hardware, in one frozen object.

The same object makes the Amaranth component, the schedule, the engines and the prediction, so none
of them can disagree about what is being built.
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from hwsim.errors import InputError

TERNARY_LANES = ("negate", "carry-fold", "grouped")
"""Lanes whose weights are trits."""

MULTIPLIER_LANES = ("int8", "fp16")
"""Baseline lanes: the same array, with a multiplier in every place."""

TRITS_PER_BYTE = {"1bit": 8, "2bit": 4, "base3": 5}
"""How many weights each encoding packs into one byte."""

TRIT_BITS = 2
"""Width of a decoded trit: nonzero, negative."""

RESULT_QUEUE_WORDS = 16
"""Words of the result bus that can wait to be taken: as many as a small memory of an FPGA holds."""

RESULTS_UNDER_WAY = 4
"""Most words that can still come once the queue of results is seen to be filling up."""

RELAYED_COPIES = 4
"""Copies of the operand register that read the same one before."""

Memory = Literal["hbm2", "gddr6", "lpddr5", "lpddr4", "ddr4"]
"""Kinds of off-chip memory that the energy tables know."""

_NUMBERS: dict[str, dict[str, Any]] = {
    "ternary": {"activation_bits": 8, "accumulator_bits": 24, "weight_encoding": "2bit"},
    "int8": {"activation_bits": 8, "accumulator_bits": 32, "weight_encoding": None},
    "fp16": {"activation_bits": 16, "accumulator_bits": 16, "weight_encoding": None},
}
"""Defaults of the fields that depend on what kind of numbers a lane computes with."""


def _number_of(lane: str) -> str:
    return lane if lane in MULTIPLIER_LANES else "ternary"


_MOST = 1024
"""Rows and columns that an array can have."""


def tree_levels(inputs: int) -> int:
    """Return the levels of a balanced tree of two-input adders; of many trees, for an array."""
    return sum(inputs > 1 << level for level in range(_MOST.bit_length()))


Bits = Annotated[int, Field(ge=8, le=4096, multiple_of=8)]

_UNLIMITED: dict[str, Any] = {
    "weight_bandwidth_gb_s": None,
    "activation_bandwidth_gb_s": None,
    "result_bandwidth_gb_s": None,
    "memory_latency_cycles": 0,
}
"""Fields of a memory system that keeps no port waiting."""


class ArrayConfig(BaseModel):
    """A MAC array of `rows` lanes with `columns` inputs each, and what surrounds it.

    Fields that are left out take the default of the lane (see `lane`). Objects are immutable; use
    `replace` to derive another one.

    Raises
    ------
    InputError
        From `make`, `replace` and `from_toml`, naming the field and what is allowed.
    """

    # Strict: a string or a truth value is no number.
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, strict=True)

    rows: int = Field(16, ge=1, le=_MOST, description="lanes R: outputs computed side by side")
    columns: int = Field(16, ge=1, le=_MOST, description="inputs N that a lane takes in one step")
    batch: int = Field(8, ge=1, le=4096, description="tokens B that share one load of weights")
    lane: Literal["negate", "carry-fold", "grouped", "int8", "fp16"] = Field(
        "negate",
        description="microarchitecture of the lane: negate, carry-fold, grouped, int8 or fp16",
    )
    group: Literal[2, 3] | None = Field(
        None, description="activations whose sums are shared (grouped lanes only; there 2 or 3)"
    )
    weight_encoding: Literal["1bit", "2bit", "base3"] | None = Field(
        "2bit",
        description="format of the weight stream (ternary lanes only): 1bit, 2bit or base3",
    )
    weight_bus_bits: Bits = Field(64, description="width of the weight stream")
    activation_bits: int = Field(8, description="width of one activation (16 for fp16)")
    activation_bus_bits: Bits = Field(64, description="width of the activation stream")
    result_bus_bits: Bits = Field(32, description="width of the result stream")
    max_in_features: int = Field(
        8192, ge=1, le=1 << 20, description="longest layer that the activation buffer holds"
    )
    accumulator_bits: int = Field(
        24, ge=8, le=32, description="width of an accumulator (int8 32, fp16 16)"
    )
    pipeline: int = Field(
        1, ge=0, le=16, description="a register after every k-th level of the adder tree; 0: none"
    )
    broadcast_rows: int | None = Field(
        None,
        ge=1,
        description="rows that share a copy of the operand register, after four more stages of "
        "registers, for the wires of FPGAs; all rows share one, without the stages, if left out",
    )
    clock_mhz: float = Field(
        1000.0, ge=1e-3, le=1e6, description="clock, for times and energies; 1 kHz to 1 THz"
    )
    memory: Memory = Field("hbm2", description=f"off-chip memory: {', '.join(get_args(Memory))}")
    weight_bandwidth_gb_s: float | None = Field(
        None,
        ge=1e-3,
        le=1e6,
        description="of the memory that weights come from, GB/s; else the bus alone limits",
    )
    activation_bandwidth_gb_s: float | None = Field(
        None, ge=1e-3, le=1e6, description="of the memory that activations come from, GB/s"
    )
    result_bandwidth_gb_s: float | None = Field(
        None, ge=1e-3, le=1e6, description="of the memory that results go to, GB/s"
    )
    burst_bytes: int = Field(64, ge=1, le=1 << 20, description="bytes that a memory moves at once")
    memory_latency_cycles: int = Field(
        0, ge=0, le=1 << 20, description="cycles from the command to the first word of a memory"
    )

    @model_validator(mode="before")
    @classmethod
    def _fill_defaults_of_the_lane(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        given = {key: value for key, value in data.items() if value is not None}
        lane = str(given.get("lane", cls.model_fields["lane"].default))
        group = {"group": 2} if lane == "grouped" else {}
        return {**_NUMBERS[_number_of(lane)], **group, **given}

    @model_validator(mode="after")
    def _check_fields_against_each_other(self) -> Self:
        width = _NUMBERS[self.number]["activation_bits"]
        if self.activation_bits != width:
            raise ValueError(f"activation_bits must be {width} for lane {self.lane}")
        if not self.is_ternary and self.weight_encoding is not None:
            raise ValueError(f"weight_encoding does not apply to lane {self.lane}")
        if self.lane != "grouped" and self.group is not None:
            raise ValueError(f"group does not apply to lane {self.lane}")
        if self.lane == "fp16" and self.accumulator_bits not in (16, 32):
            raise ValueError("accumulator_bits must be 16 or 32 for lane fp16")
        if self.activation_bus_bits < self.activation_bits:
            raise ValueError(
                f"activation_bus_bits must be at least {self.activation_bits}, the width of one "
                f"activation of lane {self.lane}"
            )
        if self.activation_bus_bits % self.activation_bits:
            raise ValueError(
                f"activation_bus_bits must be a multiple of {self.activation_bits}, the width of "
                f"an activation of lane {self.lane}, not {self.activation_bus_bits}"
            )
        if self.result_bus_bits < self.result_bits:
            raise ValueError(
                f"result_bus_bits must be at least {self.result_bits}, the width of one result "
                f"(accumulator_bits = {self.accumulator_bits})"
            )
        return self

    @classmethod
    def make(cls, *, where: str = "array", **fields: Any) -> Self:
        """Check `fields` and build the config; `where` opens the error line."""
        try:
            return cls(**fields)
        except ValidationError as error:
            raise InputError(f"{where}: {_one_line(error)}") from error

    def replace(self, *, where: str = "array", **changes: Any) -> Self:
        """Return a config with `changes`.

        A lane that computes with another kind of numbers brings their widths and encoding.
        """
        kept = self.model_dump()
        lane = changes.get("lane", self.lane)
        if _number_of(str(lane)) != self.number:
            kept = {key: value for key, value in kept.items() if key not in _NUMBERS[self.number]}
        if lane != "grouped":
            kept.pop("group")
        return self.make(where=where, **{**kept, **changes})

    def baseline(self, lane: str) -> Self:
        """Return the array of the same shape, buses and clock with another lane.

        The buses are widened where whole activations, or one result, of that lane would not fit.
        """
        least = _NUMBERS[_number_of(lane)]
        activation_bits = least["activation_bits"]
        return self.replace(
            lane=lane,
            activation_bus_bits=-(-self.activation_bus_bits // activation_bits) * activation_bits,
            result_bus_bits=max(self.result_bus_bits, least["accumulator_bits"]),
        )

    @classmethod
    def from_toml(cls, path: str | Path) -> Self:
        """Read a config whose keys are the field names."""
        try:
            with open(path, "rb") as file:
                fields = tomllib.load(file)
        except OSError as error:
            raise InputError(f"{path}: {error.strerror}") from error
        except ValueError as error:
            raise InputError(f"{path}: not a TOML file: {error}") from error
        except RecursionError as error:
            raise InputError(f"{path}: not a TOML file: nested too deeply") from error
        for key in fields:
            if key not in cls.model_fields:
                known = ", ".join(cls.model_fields)
                shown = key if key.isprintable() else ascii(key)
                raise InputError(f"{path}: {shown}: no such field; known: {known}")
        return cls.make(where=str(path), **fields)

    @property
    def is_limited(self) -> bool:
        """Whether the memory system can keep a port waiting."""
        return any(getattr(self, field) != value for field, value in _UNLIMITED.items())

    @property
    def unlimited(self) -> Self:
        """The same array with a memory system that keeps no port waiting."""
        return self.replace(**_UNLIMITED) if self.is_limited else self

    # What follows from the fields. All widths in bits unless the name says bytes.

    @property
    def number(self) -> str:
        """What kind of numbers the lane computes with: `ternary`, `int8` or `fp16`."""
        return _number_of(self.lane)

    @property
    def is_ternary(self) -> bool:
        """Whether the weights are trits (no multiplier in the lane)."""
        return self.number == "ternary"

    @property
    def leaf_columns(self) -> int:
        """Columns of a leaf of the tree: a group, or those that carry-fold sums first.

        Three are smaller, two are faster: see `hwsim.rtl.lanes.carry_fold`.
        """
        if self.lane == "carry-fold":
            return 2 if self.broadcast_rows else 3
        return self.group or 1

    @property
    def tree_inputs(self) -> int:
        """Terms that a lane's adder tree sums: one a column, or one a group of columns."""
        return -(-self.columns // (self.group or 1))

    @property
    def lane_latency(self) -> int:
        """Cycles from a lane's operands to its next accumulator: the registers in its tree.

        What makes one leaf out of several columns is a level of its own.
        """
        levels = tree_levels(-(-self.columns // self.leaf_columns)) + (self.leaf_columns > 1)
        return levels // self.pipeline if self.pipeline else 0

    @property
    def step_latency(self) -> int:
        """Cycles from a step to the one in which its sum can be read from the accumulator bank.

        One to read the activations, one for the operand registers, the lane's, one to write.
        """
        return 3 + self.broadcast_stages + self.lane_latency

    @property
    def broadcast_stages(self) -> int:
        """Registers on the way to the lanes besides the operand register: see `broadcast_rows`."""
        return 4 if self.broadcast_rows else 0

    @property
    def operand_rows(self) -> int:
        """Rows that have a copy of the operand register together."""
        return self.broadcast_rows or self.rows

    @property
    def operand_copies(self) -> int:
        """Copies of the operand register."""
        return -(-self.rows // self.operand_rows)

    @property
    def operand_relays(self) -> int:
        """Registers before these copies, each for a few of them: the last of the stages."""
        return -(-self.operand_copies // RELAYED_COPIES) if self.broadcast_rows else 0

    @property
    def weight_bits(self) -> int:
        """Width of one weight in the tile, decoded."""
        return TRIT_BITS if self.is_ternary else self.activation_bits

    @property
    def filling_weight(self) -> int:
        """Weight in the places of a tile that no weight of the layer has: `1bit` has no zero."""
        return int(self.weight_encoding == "1bit")

    @property
    def decoded_byte_bits(self) -> int:
        """Width of one byte of the weight stream, decoded."""
        return TRITS_PER_BYTE[self.weight_encoding] * TRIT_BITS if self.weight_encoding else 8

    @property
    def decoded_bus_bits(self) -> int:
        """Width of one word of the weight stream, decoded."""
        return self.weight_bus_bits // 8 * self.decoded_byte_bits

    @property
    def weight_row_bytes(self) -> int:
        """Bytes of one row of a weight tile; each row is packed by itself."""
        return -(-self.columns * self.weight_bits // self.decoded_byte_bits)

    @property
    def tile_row_bits(self) -> int:
        """Width of one row of the weight tile in the array; whole groups."""
        return self.tree_inputs * (self.group or 1) * self.weight_bits

    @property
    def tile_bytes(self) -> int:
        """Bytes of one weight tile (`rows` x `columns` weights)."""
        return self.rows * self.weight_row_bytes

    @property
    def tile_words(self) -> int:
        """Weight-bus words of one tile."""
        return -(-self.tile_bytes * 8 // self.weight_bus_bits)

    @property
    def result_bits(self) -> int:
        """Width of one result on its bus: the accumulator, extended to 8, 16 or 32 bits."""
        return next(width for width in (8, 16, 32) if width >= self.accumulator_bits)

    @property
    def results_per_word(self) -> int:
        """Results that fit into one word of the result bus."""
        return self.result_bus_bits // self.result_bits

    @property
    def buffer_words(self) -> int:
        """Words of `columns` activations that one token takes in the buffer, at most."""
        return -(-self.max_in_features // self.columns)

    def for_in_features(self, in_features: int) -> Self:
        """Return the config whose activation buffer holds layers of `in_features`.

        A buffer that is too short grows to the next power of two, so that one compiled core serves
        all layers of a model.
        """
        if in_features <= self.max_in_features:
            return self
        return self.replace(max_in_features=1 << (in_features - 1).bit_length())

    def check_in_features(self, in_features: int, *, where: str) -> None:
        """Refuse a layer whose sums could leave the accumulator, or that the buffer cannot hold.

        Raises
        ------
        InputError
            Naming `where`.
        """
        if in_features > self.max_in_features:
            raise InputError(
                f"{where}: in_features is {in_features}, but max_in_features of the array is "
                f"{self.max_in_features}"
            )
        if self.lane == "fp16":
            return
        worst = in_features * (128 if self.is_ternary else 128 * 128)
        if worst >= 1 << (self.accumulator_bits - 1):
            raise InputError(
                f"{where}: {in_features} inputs can reach a sum of {worst}, which does not fit "
                f"into accumulator_bits = {self.accumulator_bits}"
            )


def _one_line(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    field = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        known = ", ".join(ArrayConfig.model_fields)
        return f"{field}: no such field; known: {known}"
    if not field:
        return message
    try:
        shown = repr(first["input"])
    except ValueError:  # Python refuses to write it out
        shown = "a number of thousands of digits"
    return f"{field}: {message[0].lower()}{message[1:]}, not {shown}"


PRESETS: dict[str, dict[str, Any]] = {
    "default-16x16": {},
    "tiny": {"rows": 4, "columns": 8, "batch": 2},
    "default-64x64": {
        "lane": "carry-fold",
        "weight_encoding": "base3",
        "rows": 64,
        "columns": 64,
        "weight_bus_bits": 512,
        "activation_bus_bits": 512,
        "result_bus_bits": 128,
        "max_in_features": 32768,
    },
}
"""Named arrays. `default-16x16` is what `simulate` runs unless told otherwise."""


def preset(name: str) -> ArrayConfig:
    """Return the array of that name.

    Raises
    ------
    InputError
        If there is none, listing those there are.
    """
    if name not in PRESETS:
        raise InputError(f"preset {name!r}: no such preset; known: {', '.join(PRESETS)}")
    return ArrayConfig.make(where=f"preset {name}", **PRESETS[name])
