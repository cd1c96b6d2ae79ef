"""The command ``hwsim synth``."""

import json
from pathlib import Path

import pytest
from benches import needs_icarus

from hwsim.cli import main

ARRAY = ("--rows", "2", "--columns", "4", "--batch", "1", "--max-in-features", "8")


def hwsim(*arguments: str) -> int:
    """Run a command in this process; return its exit code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["hwsim", *arguments])
        with pytest.raises(SystemExit) as exit:
            main()
    return int(exit.value.code or 0)


def test_the_keys_of_the_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "out.json"
    assert hwsim("synth", "--target", "ecp5", *ARRAY, "--json", str(file)) == 0
    result = json.loads(file.read_text())
    kinds = {"lut", "lut4_equivalents", "ff", "carry", "bram", "dsp", "trit_macs"}
    keys = {*kinds, "lut_per_trit_mac", "fmax_mhz"}
    assert keys | {"target", "array"} <= set(result)
    assert keys <= set(result["lanes_only"])
    assert (result["trit_macs"], result["dsp"], result["fmax_mhz"]) == (8, 0, None)
    assert "LUT4-equivalents" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--target", "abacus"), "target 'abacus': no such target"),
        (("--target", "xcup", "--pnr"), "--pnr needs --target ecp5"),
        (("--target", "ecp5", "--pnr", "--seeds", "1,x"), "--seeds: numbers with commas"),
        (("--target", "ecp5", "--pnr", "--seeds=-1"), "--seeds: must be from 0 to 2147483647"),
        (("--target", "ecp5", "--pnr", "--seeds", str(1 << 31)), "--seeds: must be from 0"),
        (("--target", "ecp5", "--check", "absent.safetensors"), "absent.safetensors"),
    ],
)
def test_bad_input_is_refused_in_one_line(
    arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert hwsim("synth", *ARRAY, *arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_without_icarus_a_check_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("hwsim.synth.shutil.which", lambda name: None)
    assert hwsim("synth", "--target", "ecp5", *ARRAY, "--check", "shipped") == 2
    assert "--check needs Icarus Verilog" in capsys.readouterr().err


@needs_icarus
def test_two_row_blocks_and_two_token_blocks_of_a_layer_are_checked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "synth.json"
    assert (
        hwsim("synth", "--target", "ecp5", *ARRAY, "--check", "shipped", "--json", str(file)) == 0
    )
    result = json.loads(file.read_text())
    assert result["checked"] is True
    assert result["checked_layer"] == {
        "name": "blocks.0.ffn.up", "out_features": 4, "in_features": 120, "tokens": 2,
    }  # fmt: skip
    assert "sums are right: 4 outputs of blocks.0.ffn.up, 2 tokens" in capsys.readouterr().out
