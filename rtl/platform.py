"""What emitted designs do differently from simulated ones."""

from collections.abc import Callable, Mapping

from amaranth.hdl import (
    ClockSignal,
    Elaboratable,
    Instance,
    Module,
    ResetSignal,
    Signal,
    Value,
    ValueLike,
)


class Emission:
    """Platform of emitted designs: repeated or large modules become instances.

    Amaranth would emit a copy of the lane for every row, and an initial value for every bit of a
    memory. `hwsim.rtl.emit` adds the instantiated modules, each once.
    """


def add_repeated(
    m: Module,
    platform: object,
    make: Callable[[], Elaboratable],
    inputs: Mapping[str, Value],
    output: str,
    *,
    module: str,
    name: str,
    width: int,
    clocked: bool,
) -> Value:
    """Add one of many equal components; return its output.

    Parameters
    ----------
    m, platform
        Of the component that has it as a part.
    make
        Makes the component.
    inputs
        Values for its ports.
    output
        Name of its only output.
    module
        Its name in emitted designs.
    name
        Name of this copy.
    width
        Of the output.
    clocked
        Whether it holds a register.
    """
    result = Signal(width, name=f"{name}_{output}")
    if isinstance(platform, Emission):
        ports = {f"i_{port}": value for port, value in inputs.items()}
        if clocked:
            ports |= {"i_clk": ClockSignal(), "i_rst": ResetSignal()}
        m.submodules[name] = Instance(module, **ports, **{f"o_{output}": result})
        return result
    m.submodules[name] = component = make()
    m.d.comb += [Value.cast(getattr(component, port)).eq(v) for port, v in inputs.items()]
    m.d.comb += result.eq(getattr(component, output))
    return result


def copies(
    m: Module,
    value: ValueLike,
    count: int,
    *,
    name: str,
    init: int = 0,
    reset_less: bool = False,
) -> list[Signal]:
    """Return registers that hold the same, so that none has many readers; synthesis keeps all.

    Parameters
    ----------
    m
        Gets the registers.
    value
        What they get in every cycle.
    count
        How many there are.
    name
        Of each, with its number behind it.
    init
        What they hold first.
    reset_less
        Whether they need no reset.
    """
    value = Value.cast(value)
    registers = [
        Signal(
            len(value),
            name=f"{name}_copy_{copy}",
            init=init,
            reset_less=reset_less,
            attrs={"keep": 1},
        )
        for copy in range(count)
    ]
    m.d.sync += [register.eq(value) for register in registers]
    return registers
