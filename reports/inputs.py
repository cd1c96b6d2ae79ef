"""`Inputs`: what a report is asked, and what it works with, each computed once."""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from importlib import resources
from typing import Any, Self, TypeVar

from hwsim import trace as traces
from hwsim.compare import FORMATS, Result, run
from hwsim.config import ArrayConfig, preset
from hwsim.energy import Rates, parts_of
from hwsim.energy_tables import EnergyTable
from hwsim.errors import InputError
from hwsim.models import ZOO, ModelShape, find_model
from hwsim.workload import PHASES, Workload

T = TypeVar("T")

SUBJECT = "bitnet-b1.58-2b-4t"
"""The model that is looked at closely, unless another is asked for."""

RUN = ("engine", "array", "layer", "cycles", "predicted_cycles", "activity", "toggles")
"""What a report takes from the result of a run: all but times, prices and predictions."""

DEFAULT_TOKENS = {"prefill": 512, "decode": 1}


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """Everything that a report depends on, in words that a provenance file can hold.

    Parameters
    ----------
    models
        Names, or files of a ``config.json``, looked at closely: the first one in the static
        pictures, all in the pages' choices and across sizes, beside all models of the zoo.
    array
        The array that models are priced on.
    node, scope, phase
        What is shown first; pages let one choose others.
    tokens
        New tokens of each sequence in `phase`; 512 in prefill and 1 in decoding, if left out.
    context, batch_size, baseline, clock_gating
        As in `hwsim.workload.Workload`, `hwsim.compare.compare` and `hwsim.energy.Rates`.
    table
        A file of energies that extends the package's.
    trace
        A trace whose data are shown; the shipped one, if left out.
    run
        What a layer's run showed, as ``hwsim simulate --json`` writes it.
    layer
        Address of the layer of that run, where it was made for this report.

    Raises
    ------
    InputError
        If anything is not known, or a file cannot be read.
    """

    models: tuple[str, ...] = (SUBJECT,)
    array: ArrayConfig = field(default_factory=lambda: preset("default-64x64"))
    node: str = "7nm"
    scope: str = "system"
    phase: str = "decode"
    tokens: int | None = None
    context: int = 0
    batch_size: int = 1
    baseline: str = "equal-peak"
    clock_gating: str = "enables"
    table: str | None = None
    trace: str | None = None
    run: Mapping[str, Any] | None = field(default=None, repr=False)
    layer: str | None = None

    def __post_init__(self) -> None:
        """Refuse what is not known, before anything is computed."""
        if not self.models:
            raise InputError("report: at least one model is needed")
        if not self.array.is_ternary:
            raise InputError(f"lane {self.array.lane}: the array must be a ternary one")
        parts_of(self.scope)
        self.energies.check_node(self.node)
        self.workload(self.phase)
        FORMATS["ternary"].array(self.array, self.rates(self.node), self.baseline)
        for name in self.models:
            find_model(name)

    @classmethod
    def of(cls, words: Mapping[str, Any]) -> Self:
        """Return the inputs that `words` describes.

        Raises
        ------
        InputError
            If they are not such words.
        """
        unknown = set(words) - {field.name for field in fields(cls)}
        if unknown:
            raise InputError(f"report: unknown input {', '.join(sorted(unknown))}")
        given = dict(words)
        if isinstance(given.get("array"), Mapping):
            given["array"] = ArrayConfig.make(**given["array"])
        if "models" in given:
            given["models"] = tuple(given["models"])
        try:
            return cls(**given)
        except TypeError as error:
            raise InputError(f"report: inputs are not as expected: {error}") from error

    @property
    def words(self) -> dict[str, Any]:
        """These inputs in plain words, as `of` takes them."""
        return {
            **{f.name: getattr(self, f.name) for f in fields(self)},
            "models": list(self.models),
            "array": self.array.model_dump(),
            "run": None if self.run is None else {k: self.run[k] for k in RUN if k in self.run},
        }

    def workload(self, phase: str) -> Workload:
        """Return what models are asked to do in a phase."""
        if phase not in PHASES:
            raise InputError(f"phase {phase!r}: no such phase; known: {', '.join(PHASES)}")
        given = self.tokens if phase == self.phase else None
        return Workload(
            phase=phase,
            tokens=DEFAULT_TOKENS[phase] if given is None else given,
            context=self.context,
            batch_size=self.batch_size,
        )

    @cached_property
    def energies(self) -> EnergyTable:
        """The rows that everything is priced with."""
        return EnergyTable.load(self.table)

    @cached_property
    def subject(self) -> ModelShape:
        """The model of the static pictures."""
        return find_model(self.models[0])

    @cached_property
    def shapes(self) -> tuple[ModelShape, ...]:
        """All models, the smallest first."""
        shapes = {**ZOO, **{name: find_model(name) for name in self.models}}
        return tuple(sorted(shapes.values(), key=lambda m: (m.linear_weights, m.name)))

    def rates(self, node: str) -> Rates:
        """Return what a node is priced with."""
        return Rates(
            table=self.energies,
            node=node,
            memory=self.array.memory,
            clock_gating=self.clock_gating,
            extrapolate=True,
        )

    def results(
        self,
        model: ModelShape | None = None,
        *,
        node: str | None = None,
        scope: str | None = None,
        workload: Workload | None = None,
    ) -> dict[str, Result]:
        """Return a model's run by format; what is left out is as in the inputs."""
        model = model or self.subject
        rates = self.rates(node or self.node)
        work = workload or self.workload(self.phase)
        scope = scope or self.scope

        def compare() -> dict[str, Result]:
            return {
                name: run(
                    model,
                    format,
                    format.array(self.array, rates, self.baseline),
                    work,
                    rates,
                    scope=scope,
                )
                for name, format in FORMATS.items()
            }

        return self.once((model.name, rates.node, scope, work), compare)

    def once(self, key: Hashable, compute: Callable[[], T]) -> T:
        """Return what was computed under this key before, or compute it."""
        if key not in self._known:
            self._known[key] = compute()
        known: T = self._known[key]
        return known

    @cached_property
    def _known(self) -> dict[Hashable, Any]:
        return {}

    @cached_property
    def data(self) -> traces.Trace:
        """The trace."""
        if self.trace is not None:
            return traces.read(self.trace)
        with resources.as_file(resources.files("hwsim.data") / "adder-trace.safetensors") as file:
            return traces.read(file)


def inputs_with(inputs: Inputs | None = None, **changes: Any) -> Inputs:
    """Return inputs with `changes`; without `inputs`, those of a report without options.

    ``model="NAME"`` is short for ``models=("NAME",)``.

    Raises
    ------
    InputError
        As `Inputs`.
    """
    if "model" in changes:
        changes["models"] = (changes.pop("model"),)
    if inputs is None:
        return Inputs.of(changes)
    return replace(inputs, **changes) if changes else inputs
