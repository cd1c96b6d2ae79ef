"""A table of energies that one can compute with in the head, at a node of its own."""

from pathlib import Path

from hwsim.energy_tables import EnergyTable

HEADER = "node,operation,format,size,value,unit,low,high,source,locator,kind,note"

ROWS = """\
toy,add,int8,,1,pJ,,,me,,assumed,
toy,add,int32,,25,pJ,,,me,,assumed,
toy,mul,int8,,2,pJ,,,me,,assumed,
toy,add,fp16,,3,pJ,2,5,me,,assumed,
toy,add,fp32,,4,pJ,,,me,,assumed,
toy,mul,fp16,,10,pJ,,,me,,assumed,
toy,flip_flop,held,,1,pJ/bit,,,me,,assumed,
toy,flip_flop,active,,2,pJ/bit,,,me,,assumed,
toy,decode,2bit,,1,pJ,,,me,,assumed,
toy,decode,base3,,1,pJ,,,me,,assumed,
toy,sram,64bit,8,64,pJ/64bit,,,me,,assumed,
toy,sram,64bit,32,192,pJ/64bit,,,me,,assumed,
toy,sram,64bit,1024,640,pJ/64bit,,,me,,assumed,
toy,dram,hbm2,,3,pJ/bit,2,4,me,,assumed,
toy,leakage,ternary,,1000,nW,,,me,,assumed,
"""


def write_table(folder: Path, rows: str = ROWS) -> Path:
    """Write `rows` below the header; return the file."""
    file = folder / "toy.csv"
    file.write_text(f"{HEADER}\n{rows}")
    return file


def load_toy(folder: Path) -> EnergyTable:
    """Return the package's table with the toy node in it."""
    return EnergyTable.load(write_table(folder))
