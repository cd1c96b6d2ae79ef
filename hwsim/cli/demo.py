"""``hwsim demo``: the shipped model adds two numbers on the hardware."""

from typing import TYPE_CHECKING, Annotated

import typer

from hwsim.cli.array import array_options
from hwsim.config import ArrayConfig
from hwsim.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hwsim.activity import Activity
    from hwsim.layer import Layer

EXAMPLE = "Example: hwsim demo 31415+27182 --engine rtl"


@array_options
def demo(
    array: ArrayConfig,
    question: Annotated[str, typer.Argument(help="two numbers of up to 5 digits")] = "31415+27182",
    engine: Annotated[str, typer.Option(help="pysim or rtl")] = "rtl",
) -> None:
    """Let the shipped ternary model add; every linear layer is computed by the engine.

    Exit code 1 if the answer is wrong.
    """
    import numpy as np

    from hwsim import adder, engines
    from hwsim.energy import price
    from hwsim.energy_tables import EnergyTable

    if array.lane == "fp16":
        raise InputError("demo: the model's scales are applied to integers; lane fp16 has none")
    table = EnergyTable.load()
    model = adder.Adder.load()
    spent: list[Activity] = []

    def linear(layer: "Layer") -> "NDArray[np.int32]":
        run = engines.run(layer, array, engine=engine)
        spent.append(run.activity)
        return run.outputs.astype(np.int32)

    digits: list[int] = []
    answers = model.generate(question, linear)
    print(f"{question} on {array.rows} x {array.columns} lanes, engine {engine}")
    print("the model writes the lowest digit first:")
    cycles = 0
    energy_pj = 0.0
    for digit in answers:
        digits.append(digit)
        token_cycles = sum(activity.cycles.total for activity in spent)
        token_pj = sum(price(a, array, table, scope="core").total_pj for a in spent)
        layers = len(spent)
        spent.clear()
        cycles += token_cycles
        energy_pj += token_pj
        written = "".join(map(str, reversed(digits)))
        print(
            f"  {written:>8}   {layers} layers, {token_cycles:,} cycles, "
            f"{token_pj / 1000:,.1f} nJ (core)",
            flush=True,
        )
    answer = adder.number(digits)
    first, second = adder.parse(question)
    right = answer == first + second
    print(
        f"{first} + {second} = {answer}: {'right' if right else 'WRONG'}; {cycles:,} cycles, "
        f"{cycles / array.clock_mhz:,.1f} us at {array.clock_mhz:g} MHz, {energy_pj / 1000:,.1f} nJ"
    )
    if not right:
        raise typer.Exit(1)
