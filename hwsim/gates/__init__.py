"""The synthesized netlist: standard cells, their toggles and their energy."""
