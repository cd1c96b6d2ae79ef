"""What reports say, and what is in their tables."""

import itertools
import re
import struct
from collections.abc import Iterator

import matplotlib
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from toytable import write_table

from hwsim.compare import compare
from hwsim.config import preset
from hwsim.energy import Rates, parts_of
from hwsim.energy_tables import EnergyTable
from hwsim.errors import InputError
from hwsim.models import ZOO
from hwsim.published import FIGURES
from hwsim.reports import FIGURES as PICTURES
from hwsim.reports import REPORTS, TABLES, Inputs, figure, table
from hwsim.reports.points import points
from hwsim.reports.style import CAUSES, FORMAT_COLOURS, GROUPS, files, house_style
from hwsim.workload import Workload


@pytest.mark.parametrize("name", REPORTS)
def test_a_report_answers_first(inputs: Inputs, name: str) -> None:
    report = REPORTS[name](inputs)
    assert report.question.endswith("?")
    assert len(report.answer) == 3
    assert all(sentence.endswith(".") for sentence in report.answer)
    assert any(re.search("[0-9]", sentence) for sentence in report.answer)
    assert len(report.assumptions) >= 3
    for shown in (*report.pictures, *report.tables):
        caption = shown.caption
        assert all(words.endswith(".") for words in (caption.shows, caption.made, caption.without))
    assert {t.name for t in report.tables} <= TABLES.keys()
    assert {p.name for p in report.pictures} <= PICTURES.keys()


@pytest.mark.parametrize("name", [name for name in PICTURES if name != "toggles"])
def test_a_picture_names_its_units_and_hides_nothing(inputs: Inputs, name: str) -> None:
    drawn = figure(name, inputs)
    assert isinstance(drawn, Figure)
    for axes in drawn.axes:
        labels = [axes.get_xlabel(), axes.get_ylabel()]
        numeric = [label for label in labels if label and label != "number format"]
        assert numeric
        assert all(re.search(r"\(.+\)$", label) for label in numeric)
    png = files(drawn, name, "words")["png"]
    with house_style(name):
        width, height = drawn.get_size_inches()
        dots = struct.unpack(">2I", png[16:24])  # sizes in a PNG's first chunk
        assert dots == pytest.approx((150 * width, 150 * height), abs=1)
        box = drawn.get_tightbbox()
        assert -0.01 <= box.x0 <= box.x1 <= width + 0.01
        assert -0.01 <= box.y0 <= box.y1 <= height + 0.01
        boxes = [(t.get_text(), t.get_window_extent()) for t in _words(drawn) if t.get_text()]
    for (one, a), (other, b) in itertools.combinations(boxes, 2):
        assert not a.overlaps(b), (one, other)


def test_a_notebook_s_settings_stay(inputs: Inputs) -> None:
    with matplotlib.rc_context({"font.size": 30}):
        before = dict(matplotlib.rcParams)
        drawn = figure("roofline", inputs)
        assert dict(matplotlib.rcParams) == before
    assert files(drawn, "x", "") == files(figure("roofline", inputs), "x", "")


def _words(drawn: Figure) -> Iterator[Text]:
    """Everything that is written; ticks beyond the limits of an axis are there, but not drawn."""
    yield from drawn.texts
    for legend in drawn.legends:
        yield from legend.get_texts()
    for axes in drawn.axes:
        yield from (axes.title, axes.xaxis.label, axes.yaxis.label, *axes.texts)
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            yield from (t.label1 for t in axis.get_major_ticks() if low <= t.get_loc() <= high)


def test_files_are_the_same_each_time(inputs: Inputs) -> None:
    first, second = (files(figure("roofline", inputs), "roofline", "words") for _ in "ab")
    assert first == second
    assert {suffix: data[:4] for suffix, data in first.items()} == {
        "svg": b"<?xm",
        "png": b"\x89PNG",
        "pdf": b"%PDF",
    }
    svg = first["svg"].decode()
    assert "currentColor" in svg
    assert "prefers-color-scheme:dark" in svg
    assert "<desc>words</desc>" in svg
    assert not re.search(r"20[0-9]{2}-[0-9]{2}-[0-9]{2}", svg)


def test_colours_are_for_all_formats_parts_and_causes(run) -> None:
    grouped = [part for _, _, parts in GROUPS.values() for part in parts]
    assert sorted(grouped) == sorted(parts_of("system"))
    assert set(CAUSES) | {"total"} == set(run["cycles"])
    assert len(set(FORMAT_COLOURS.values())) == len(FORMAT_COLOURS)


def test_the_waterfall_begins_as_published_and_ends_at_the_ratio(inputs: Inputs) -> None:
    frame = table("waterfall", inputs, model="bitnet-b1.58-7b")
    assert frame["FP16 / ternary"].iloc[0] == pytest.approx(71.43, abs=0.005)
    formats = table("formats", inputs, model="bitnet-b1.58-7b").set_index("format")
    assert frame["FP16 / ternary"].iloc[-1] == pytest.approx(formats.loc["fp16", "over ternary"])
    assert frame["factor"].prod() * 71.43 == pytest.approx(frame["FP16 / ternary"].iloc[-1], 1e-3)


def test_parts_sum_to_totals(inputs: Inputs) -> None:
    parts, formats = table("parts", inputs), table("formats", inputs).set_index("format")
    for name, energy in formats["energy (mJ/token)"].items():
        assert parts[f"{name} (mJ/token)"].sum() == pytest.approx(energy)
    assert (formats["low (mJ/token)"] <= formats["energy (mJ/token)"]).all()


def test_points_are_what_compare_gives(inputs: Inputs) -> None:
    frame, left_out = points(inputs)
    assert not left_out
    assert len(frame) == len(ZOO) * 2 * 2 * 3 * 6
    rates = Rates(table=EnergyTable.load(), node="45nm", memory="hbm2", extrapolate=True)
    work = Workload(phase="prefill", tokens=512)
    expected = compare(ZOO["llama-3.2-1b"], preset("default-64x64"), work, rates, scope="core")[
        "int8"
    ]
    (row,) = frame[
        (frame.model == "llama-3.2-1b")
        & (frame.node == "45nm")
        & (frame.scope == "core")
        & (frame.phase == "prefill")
        & (frame.format == "int8")
    ].to_dict("records")
    assert row["energy_j"] == pytest.approx(expected.per_token_pj / 1e12)
    assert row["registers_j"] == pytest.approx(expected.energy.registers / 512 / 1e12)
    assert row["cycles"] == expected.cycles
    assert pd.isna(row["weights_dram_j"])


def test_ranges_of_parts_contain_them_and_sum_to_those_of_totals(inputs: Inputs) -> None:
    frame = table("points", inputs)
    frame = frame[frame.scope == "system"]
    for bound in ("low", "high"):
        parts = [frame.get(f"{part}_{bound}_j", frame[f"{part}_j"]) for part in parts_of("system")]
        total = pd.concat(parts, axis=1).sum(axis=1)
        assert total.to_numpy() == pytest.approx(frame[f"energy_{bound}_j"].to_numpy())


def test_published_points_stand_beside_ours(inputs: Inputs) -> None:
    frame = table("ratio", inputs)
    printed = frame[frame.printed.notna()]
    assert len(printed) == sum(f.quantity == "fp16 / ternary" for f in FIGURES)
    assert printed["FP16 / ternary"].to_numpy() == pytest.approx(printed.printed, rel=0.006)
    system = frame[frame.counted == "system, decode"]
    assert (system.low < system["FP16 / ternary"]).all()


def test_a_missing_row_leaves_points_out_by_name(inputs: Inputs) -> None:
    equal_area = Inputs(baseline="equal-area")
    frame, left_out = points(equal_area)
    assert set(frame.node) == {"7nm"}
    (reason,) = left_out
    assert reason.startswith("45nm: energy tables: no row for area ternary at 45nm")
    assert REPORTS["sizes"](equal_area).left_out == left_out
    with pytest.raises(InputError, match="sizes: nothing at 45nm; 45nm: energy tables: no row"):
        table("sizes", node="45nm", baseline="equal-area")


def test_changes_are_followed(tmp_path) -> None:
    usual = table("formats").set_index("format")["energy (mJ/token)"]
    own = write_table(tmp_path, "7nm,add,int8,,1,pJ,,,me,,measured,\n")
    for changes in (
        {"model": "bitnet-b1.58-7b"},
        {"node": "45nm"},
        {"scope": "core"},
        {"phase": "prefill"},
        {"tokens": 3},
        {"context": 512},
        {"batch_size": 2},
        {"clock_gating": "none"},
        {"baseline": "equal-area"},
        {"array": preset("default-64x64").replace(rows=32)},
        {"table": str(own)},
    ):
        other = table("formats", **changes).set_index("format")["energy (mJ/token)"]
        assert (other != usual).any(), changes


class TestLayer:
    def test_measured_beside_predicted(self, inputs: Inputs) -> None:
        frame = table("cycles", inputs)
        assert (frame["measured (cycles)"] == frame["predicted (cycles)"]).all()
        assert "cause by cause" in REPORTS["layer"](inputs).answer[1]

    def test_a_run_that_differs_is_said_to(self, run) -> None:
        cycles = {**run["cycles"], "result_stall": run["cycles"]["result_stall"] + 1}
        answer = REPORTS["layer"](Inputs(run={**run, "cycles": cycles})).answer[1]
        assert "which is not the same" in answer
        stalled = Inputs(run={**run, "cycles": cycles, "predicted_cycles": None})
        assert REPORTS["layer"](stalled).answer[1] == "Ports that wait cost it 1 cycles."
        assert len(table("timeline", stalled)) == 1

    def test_the_timeline_is_the_counters(self, inputs: Inputs, run) -> None:
        frame = table("timeline", inputs)
        for cause, count in run["cycles"].items():
            if cause != "total":
                assert frame[f"{cause} (cycles)"].sum() == count
        assert frame["to (cycle)"].iloc[-1] == run["cycles"]["total"]
        assert (frame["from (cycle)"].iloc[1:].to_numpy() == frame["to (cycle)"].iloc[:-1]).all()

    def test_energies_are_those_of_simulate(self, inputs: Inputs, run) -> None:
        frame = table("layer_energy", inputs).set_index("part")
        total = run["energy_pj"]["core"]["total"]
        assert frame.loc["total", "negate (nJ)"] == pytest.approx(total / 1e3)
        fp16 = run["baseline"]["fp16"]["energy_pj"]["core"]["total"]
        assert frame.loc["total", "fp16 (nJ)"] == pytest.approx(fp16 / 1e3)

    def test_toggles_are_left_out_by_name_or_drawn(self, inputs: Inputs, run) -> None:
        report = REPORTS["layer"](inputs)
        assert [p.name for p in report.pictures] == ["cycles"]
        assert report.left_out == ["toggles: engine rtl counts none; engine gates does"]
        with pytest.raises(InputError, match="toggles: engine rtl counts none"):
            figure("toggles", inputs)
        toggles = {"decode": 7, "tree level 1": 40, "tree level 2": 20, "total": 67}
        toggling = Inputs(run={**run, "toggles": toggles})
        assert "toggles" in [p.name for p in REPORTS["layer"](toggling).pictures]
        (axes,) = figure("toggles", toggling).axes
        widths = [bar.get_width() * run["activity"]["padded_macs"] for bar in axes.patches]
        assert widths == pytest.approx([7, 40, 20])
        assert table("toggles", toggling)["transitions"].tolist() == [7, 40, 20]
        assert [t.get_text() for t in axes.get_yticklabels()] == list(toggles)[:-1]

    @pytest.mark.parametrize("broken", [{}, {"layer": 1}, {"layer": {"name": "x"}}])
    def test_anything_else_is_refused(self, broken) -> None:
        with pytest.raises(InputError, match="must be what `hwsim simulate --json` writes"):
            table("cycles", run=broken)

    def test_without_a_run(self) -> None:
        with pytest.raises(InputError, match="no run of a layer"):
            figure("cycles")


def test_trace_statistics_are_exact(inputs: Inputs) -> None:
    frame = table("weights", inputs)
    assert (frame["outputs"] * frame["inputs"]).sum() == 289_200
    weights = frame["outputs"] * frame["inputs"]
    assert (frame["0 (%)"] * weights).sum() / weights.sum() == pytest.approx(29.9, abs=0.05)
    shares = frame[["-1 (%)", "0 (%)", "+1 (%)"]].sum(axis=1)
    assert shares.to_numpy() == pytest.approx(100)
    assert frame["entropy (bit/weight)"].between(1, 1.585).all()
    energies = table("trace_energy", inputs)
    assert energies["fp16 (nJ)"].iloc[:-1].sum() == pytest.approx(energies["fp16 (nJ)"].iloc[-1])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "no-such"}, "model 'no-such': no such model"),
        ({"node": "3nm"}, "no such node"),
        ({"scope": "all"}, "scope 'all': no such scope"),
        ({"phase": "train"}, "phase 'train': no such phase"),
        ({"tokens": 0}, "tokens must be at least 1"),
        ({"tokens": "many"}, "report: inputs are not as expected"),
        ({"models": ()}, "at least one model"),
        ({"colour": "red"}, "unknown input colour"),
        ({"array": preset("default-64x64").baseline("int8")}, "must be a ternary one"),
        ({"trace": "absent.safetensors"}, "absent.safetensors: no such file"),
    ],
)
def test_wrong_inputs_are_named(changes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        table("weights", **changes)


def test_unknown_names_are_named() -> None:
    with pytest.raises(InputError, match="figure 'pie': no such figure; known: waterfall"):
        figure("pie")
    with pytest.raises(InputError, match="table 'pie': no such table"):
        table("pie")
