import numpy as np
import pytest

from hwsim.compare import FORMATS, run
from hwsim.config import preset
from hwsim.energy import PICOJOULES, SCOPES, Rates, parts_of
from hwsim.energy_tables import EnergyTable
from hwsim.grid import design_points
from hwsim.models import ZOO
from hwsim.workload import PHASES, Workload

ARRAY = preset("default-64x64")
RATES = Rates(table=EnergyTable.load(), memory="hbm2")
WORKLOADS = [
    Workload(phase=phase, tokens=tokens, context=context, batch_size=batch_size)
    for phase in PHASES
    for tokens, context, batch_size in ((1, 0, 1), (3, 10, 2), (17, 0, 1))
]


def test_every_point_is_what_one_run_gives() -> None:
    model = ZOO["qwen2.5-1.5b"]
    frame = design_points([model], WORKLOADS, ARRAY, RATES)
    assert len(frame) == len(FORMATS) * 2 * len(SCOPES) * len(WORKLOADS)
    for point in frame.sample(40, random_state=1).to_dict("records"):
        rates = Rates(table=RATES.table, node=point["node"], memory="hbm2")
        work = Workload(**{n: point[n] for n in ("phase", "tokens", "context", "batch_size")})
        format = FORMATS[point["format"]]
        array = format.array(ARRAY, rates, "equal-peak")
        result = run(model, format, array, work, rates, scope=point["scope"])
        assert point["energy_j"] == pytest.approx(result.energy.total_pj / PICOJOULES)
        assert point["per_token_j"] == pytest.approx(result.per_token_pj / PICOJOULES)
        assert point["cycles"] == result.cycles
        assert point["latency_s"] == pytest.approx(result.latency_s)
        assert point["tokens_per_s"] == pytest.approx(result.tokens_per_s)
        assert point["utilisation"] == pytest.approx(result.utilisation)
        assert point["weight_bytes"] == result.weight_bytes
        assert point["footprint_bytes"] == sum(result.footprint_bytes.values())
        for part in parts_of("system"):
            joules = result.energy.parts.get(part, np.nan) / PICOJOULES
            assert point[f"{part}_j"] == pytest.approx(joules, nan_ok=True)


@pytest.mark.slow
def test_a_hundred_thousand_points_are_one_frame() -> None:
    workloads = [
        Workload(phase=phase, tokens=tokens, context=context, batch_size=batch_size)
        for phase in PHASES
        for tokens in (1, 128, 512, 2048)
        for context in (0, 512, 4096, 32768)
        for batch_size in (1, 4, 16, 64)
    ]
    frame = design_points(ZOO.values(), [*workloads, *workloads[:6]], ARRAY, RATES)
    assert len(frame) > 100_000
    assert set(frame["model"]) == set(ZOO)
