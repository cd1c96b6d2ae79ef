"""What emitted designs do differently from simulated ones."""


class Emission:
    """Platform of emitted designs: repeated or large modules become instances.

    Amaranth would emit a copy of the lane for every row, and an initial value for every bit of a
    memory. `hwsim.rtl.emit` adds the instantiated modules, each once.
    """
