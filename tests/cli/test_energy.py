import json

import pytest
from toytable import HEADER

from hwsim.models import ZOO


@pytest.fixture
def as_json(hwsim):
    def run(*arguments: object):
        code, out, err = hwsim(*arguments, "--json", "-")
        assert (code, err) == (0, "")
        return json.loads(out)

    return run


BITNET = ("--model", "bitnet-b1.58-2b-4t")


def test_defaults_are_the_published_method(as_json) -> None:
    found = as_json("energy", *BITNET)
    assert (found["scope"], found["node"], found["phase"]) == ("arithmetic", "7nm", "prefill")
    assert (found["tokens"], found["context"]) == (512, 0)
    assert found["formats"]["ternary"]["total_j"] == pytest.approx(0.028, abs=0.0005)
    assert found["array"]["rows"] == found["array"]["columns"] == 64
    assert as_json("energy", *BITNET, "--scope", "core")["phase"] == "decode"
    assert as_json("energy", *BITNET, "--scope", "system")["tokens"] == 1


@pytest.mark.parametrize(
    "option",
    [
        ("--model", "bitnet-b1.58-3b"),
        ("--node", "45nm"),
        ("--scope", "core"),
        ("--phase", "prefill"),
        ("--tokens", 2),
        ("--context", 10),
        ("--batch-size", 2),
        ("--kv-bits", 8),
        ("--head-bits", 8),
        ("--no-lm-head",),
        ("--memory", "lpddr5"),
        ("--baseline", "equal-area"),
        ("--clock-gating", "none"),
        ("--clock-gating", "all"),
        ("--memory-size-gb", 4),
        ("--bandwidth-gb-s", 51.2),
        ("--rows", 32),
        ("--activation-bus-bits", 8),
        ("--encoding", "2bit"),
    ],
)
def test_every_option_moves_a_total(as_json, option) -> None:
    base = ("energy", *BITNET, "--scope", "system")
    before, after = as_json(*base), as_json(*base, *option)
    assert before["formats"] != after["formats"]


def test_memories(as_json) -> None:
    options = ("--scope", "system", "--context", 1000, "--memory-size-gb", 2)
    found = as_json("energy", *BITNET, *options, "--bandwidth-gb-s", 25.6, "--bandwidth-gb-s", 1)
    formats = found["formats"]
    for result in formats.values():
        speeds = result["tokens_per_s_at"]
        assert speeds["25.6 GB/s"] == speeds["ddr4"]  # a channel of it
        assert speeds["1 GB/s"] < speeds["lpddr4"] < speeds["lpddr5"] < speeds["gddr6"]
        # The head, in 16 bits, is read for every token.
        assert speeds["1 GB/s"] < 1e9 / (result["weight_bytes"] + 128_256 * 2560 * 2)
        model = sum(result["footprint_bytes"].values()) - result["footprint_bytes"]["kv_cache"]
        batch = (2_000_000_000 - model) // (1001 * 76_800)
        assert result["largest_batch"] == max(0, batch)
    assert formats["fp16"]["largest_batch"] == 0 < formats["ternary"]["largest_batch"]


def test_clock_gating_is_there_in_all_forms(as_json, hwsim) -> None:
    options = ("energy", *BITNET, "--scope", "core")
    ratios = as_json(*options)["ratio_by_clock_gating"]
    for gating, ratio in ratios.items():
        found = as_json(*options, "--clock-gating", gating)
        assert found["ratio_fp16_over_ternary"] == pytest.approx(ratio)
    assert as_json(*options)["clock_gating"] == "enables"
    assert ratios["all"] < ratios["enables"] < ratios["none"]
    assert "by clock gating (enables is what was priced): none " in hwsim(*options)[1]


def test_causal_attention_is_half(as_json) -> None:
    full, half = (as_json("energy", *BITNET, *o)["formats"]["fp16"] for o in ((), ("--causal",)))
    ratio = half["parts_j"]["attention_mul"] / full["parts_j"]["attention_mul"]
    assert ratio == pytest.approx(513 / 1024)


def test_own_table_moves_what_uses_it(as_json, tmp_path) -> None:
    table = tmp_path / "own.csv"
    table.write_text(f"{HEADER}\n7nm,add,int8,,0.014,pJ,,,me,,measured,\n")
    before, after = as_json("energy", *BITNET), as_json("energy", *BITNET, "--table", table)
    assert after["table_rows_changed"] == ["add int8 at 7nm"]
    assert not before["table_rows_changed"]
    for name, result in after["formats"].items():
        factor = 1 if name in ("fp16", "w4a16") else 2
        old = before["formats"][name]["parts_j"]
        assert result["parts_j"]["linear_add"] == pytest.approx(factor * old["linear_add"])
        assert result["parts_j"]["scales"] == old["scales"]


def test_samples_are_within_the_bounds_and_seeded(as_json) -> None:
    options = ("energy", *BITNET, "--scope", "system", "--samples", 300)
    found = as_json(*options, "--seed", 3)
    low, high = found["ratio_fp16_over_ternary_interval"]
    drawn = found["samples"]["ratio_fp16_over_ternary"]
    assert low < drawn["p05"] < drawn["p50"] < drawn["p95"] < high
    assert found["samples"] == as_json(*options, "--seed", 3)["samples"]
    assert found["samples"] != as_json(*options, "--seed", 4)["samples"]
    assert found["sensitivities"][0]["row"].startswith("dram hbm2")


def test_lists(hwsim, tmp_path) -> None:
    file = tmp_path / "out.json"
    assert hwsim("energy", "--list", "--json", file)[0] == 0
    assert json.loads(file.read_text())["models"] == list(ZOO)
    code, out, _ = hwsim("energy", "--published", "--json", file)
    assert code == 0
    assert "residual" in out
    assert all(abs(f["relative"]) < 0.05 for f in json.loads(file.read_text())["figures"])


def test_tables_for_people(hwsim) -> None:
    code, out, err = hwsim("energy", "--model", "llama-3.2-1b", "--scope", "system")
    assert (code, err) == (0, "")
    assert "as if it were ternary" in out
    assert "71.43" in out
    assert "16 against 1.62 bits a weight are read" in out
    assert "not modelled" in out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "--model is missing; --list prints"),
        (("--model", "no-such-model"), "model 'no-such-model': no such model"),
        ((*BITNET, "--node", "3nm"), "node '3nm': no such node; known: 45nm, 7nm"),
        ((*BITNET, "--scope", "all"), "scope 'all': no such scope; known: arithmetic"),
        ((*BITNET, "--phase", "train"), "phase 'train': no such phase"),
        ((*BITNET, "--tokens", 0), "tokens must be at least 1, not 0"),
        ((*BITNET, "--baseline", "fair"), "baseline 'fair': not known"),
        ((*BITNET, "--scope", "system", "--memory", "abacus"), "memory: input should be 'hbm2'"),
        ((*BITNET, "--lane", "int8"), "lane int8"),
        ((*BITNET, "--clock-gating", "most"), "clock gating 'most': not known; known: none, en"),
        ((*BITNET, "--memory-size-gb", 0), "--memory-size-gb must be above 0 and below 10^9"),
        ((*BITNET, "--bandwidth-gb-s", "nan"), "--bandwidth-gb-s must be above 0"),
        ((*BITNET, "--table", "absent.csv"), "absent.csv: No such file"),
        ((*BITNET, "--batch", 64, "--scope", "core"), "is beyond the largest row, 1024 KB"),
    ],
)
def test_bad_input_gives_one_line(hwsim, options, message: str) -> None:
    code, out, err = hwsim("energy", *options)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


class TestTables:
    def test_show(self, as_json) -> None:
        rows = as_json("tables", "show", "--node", "7nm")["rows"]
        assert {row["node"] for row in rows} == {"7nm", "any"}
        (row,) = [r for r in rows if (r["operation"], r["format"]) == ("add", "int8")]
        assert (row["value"], row["unit"], row["kind"]) == (0.007, "pJ", "published")
        assert row["source"].startswith("Jouppi")

    def test_check(self, hwsim, tmp_path) -> None:
        table = tmp_path / "own.csv"
        table.write_text(f"{HEADER}\n7nm,add,int8,,1,pJ,,,me,,measured,\n")
        code, out, _ = hwsim("tables", "check", table)
        assert code == 0
        assert "1 rows, of which 1 override" in out
        assert "add int8 at 7nm: 0.007 pJ becomes 1 pJ" in out
        table.write_text(f"{HEADER}\n7nm,add,int8,,1,pJ,,,,,measured,\n")
        code, _, err = hwsim("tables", "check", table)
        assert (code, err) == (2, f"hwsim: {table}:2: has no source\n")

    def test_explain_adds_up(self, as_json, hwsim) -> None:
        options = (*BITNET, "--scope", "system")
        rows = as_json("tables", "explain", *options, "--format", "int8")["rows"]
        total = as_json("energy", *options)["formats"]["int8"]["total_j"]
        assert sum(row["energy_j"] for row in rows) == pytest.approx(total)
        assert all(row["source"] and row["file"] and row["line"] for row in rows)
        some = as_json("tables", "explain", *options, "--part", "weights_dram")["rows"]
        assert [row["row"] for row in some] == ["dram hbm2 at any"]
        assert (
            "part 'x': not in scope system"
            in hwsim("tables", "explain", *options, "--part", "x")[2]
        )
        assert "format 'x': not known" in hwsim("tables", "explain", *options, "--format", "x")[2]

    @pytest.mark.parametrize(
        "option",
        [
            ("--tokens", 3, "--context", 5, "--causal", "--phase", "prefill"),
            ("--context", 5, "--kv-bits", 8),
            ("--head-bits", 8),
            ("--no-lm-head",),
            ("--batch", 64, "--extrapolate"),
        ],
    )
    def test_explain_is_of_the_run_that_energy_prices(self, as_json, option) -> None:
        options = (*BITNET, "--scope", "system", *option)
        rows = as_json("tables", "explain", *options)["rows"]
        total = as_json("energy", *options)["formats"]["ternary"]["total_j"]
        assert sum(row["energy_j"] for row in rows) == pytest.approx(total)

    def test_explain_names_rows_that_are_no_energies(self, as_json, hwsim) -> None:
        options = ("tables", "explain", *BITNET, "--scope", "system", "--baseline", "equal-area")
        rows = as_json(*options, "--format", "fp16")["rows_beside"]
        assert [(row["for"], row["row"]) for row in rows] == [
            ("rows", "area ternary at 7nm"),
            ("rows", "area fp16 at 7nm"),
            ("attention_s, bounds_s", "bandwidth hbm2 at any"),
        ]
        rows = as_json(*options)["rows_beside"]
        assert [row["row"] for row in rows] == ["bandwidth hbm2 at any"]
        assert "area fp16 at 7nm" in hwsim(*options, "--format", "w4a16")[1]
