"""Reports as files: the same each time, checked against today's tables, safe with any name."""

import csv
import hashlib
import json
import re
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path

import matplotlib
import pytest

from hwsim.errors import InputError
from hwsim.reports import FIGURES, TABLES, Inputs, figure
from hwsim.reports.folder import check, command_line, make, write
from hwsim.reports.page import LIBRARY, script_json
from hwsim.reports.style import files
from hwsim.reports.text import cell

ROOT = Path(__file__).parents[2]
SMALL = ("layer", "trace")


class Page(HTMLParser):
    """The tables of a page, cell by cell, with the values behind the numbers."""

    def __init__(self, text: str):
        super().__init__()
        self.tables: dict[str, list[tuple[str, str]]] = {}
        self.links: list[str] = []
        self.ids: list[str] = []
        self.tags: list[str] = []
        self._table = ""
        self._value: str | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        of = dict(attributes)
        self.tags.append(tag)
        if "id" in of:
            self.ids.append(str(of["id"]))
        if "href" in of:
            self.links.append(str(of["href"]))
        if tag == "figure":
            self._table = str(of.get("id", "")).removeprefix("table-of-")
        self._value = of.get("data-value") if tag == "td" else None

    def handle_endtag(self, tag: str) -> None:
        self._value = None
        if tag == "figure":
            self._table = ""

    def handle_data(self, data: str) -> None:
        if self._value is not None:
            self.tables.setdefault(self._table, []).append((self._value, data))


def test_everything_is_there(page: Path) -> None:
    there = {str(path.relative_to(page)) for path in page.rglob("*") if path.is_file()}
    drawn, tables = (set(known) - {"toggles"} for known in (FIGURES, TABLES))
    assert there == {
        "report.html",
        "report.md",
        "provenance.json",
        *(f"figures/{name}.{suffix}" for name in drawn for suffix in ("svg", "png", "pdf")),
        *(f"tables/{name}.{suffix}" for name in tables for suffix in ("csv", "tex")),
    }
    assert (page / "report.html").stat().st_size < 6e6


def test_each_number_of_the_page_is_in_the_csv(page: Path) -> None:
    found = Page((page / "report.html").read_text()).tables
    for name in set(TABLES) - {"points", "timeline", "toggles"}:
        with open(page / "tables" / f"{name}.csv", newline="") as file:
            cells = {value for row in csv.reader(file) for value in row}
        numbers = found[name]
        assert numbers, name
        for value, words in numbers:
            assert value in cells, (name, value)
            assert words == cell(float(value)), (name, value)


def test_the_page_needs_nothing_else_and_its_links_lead_somewhere(page: Path) -> None:
    text = (page / "report.html").read_text()
    parsed = Page(text)
    assert "default-src 'none'" in text
    assert not {"link", "iframe", "object"} & set(parsed.tags)
    assert len(parsed.ids) == len(set(parsed.ids))
    for link in parsed.links:
        if link.startswith("#"):
            assert link[1:] in parsed.ids
        else:
            assert (page / link).is_file()
    assert len([link for link in parsed.links if link.startswith("#row-")]) > 30


def test_provenance(page: Path, inputs: Inputs) -> None:
    content = json.loads((page / "provenance.json").read_bytes())
    assert content["made_by"] == "hwsim report -o DIR"
    assert Inputs.of(content["inputs"]).words == inputs.words
    for name, checksum in content["files"].items():
        assert hashlib.sha256((page / name).read_bytes()).hexdigest() == checksum
    assert {row["row"] for row in content["table_rows"]} == {str(k) for k in inputs.energies.rows}
    assert all(row["source"] and row["line"] for row in content["table_rows"])
    assert str(Path.cwd()) not in json.dumps(content)


def test_the_same_inputs_give_the_same_bytes(inputs: Inputs) -> None:
    again = Inputs.of(json.loads(json.dumps(inputs.words)))
    first, second = (make(x, only=["layer"]) for x in (inputs, again))
    assert first.keys() >= {"report.html", "figures/cycles.svg", "provenance.json"}
    assert first == second


def test_the_command_says_what_is_not_usual(inputs: Inputs) -> None:
    other = Inputs(
        models=("llama-3.2-1b", "bitnet-b1.58-3b"),
        array=inputs.array.replace(rows=32, weight_encoding="2bit"),
        scope="core",
        clock_gating="none",
    )
    assert command_line(other, ("model",), pictures=False) == (
        "hwsim report -o DIR --only model --model llama-3.2-1b --model bitnet-b1.58-3b "
        "--scope core --clock-gating none --rows 32 --weight-encoding 2bit --no-pictures"
    )


class TestCheck:
    @pytest.fixture
    def folder(self, inputs: Inputs, tmp_path: Path) -> Path:
        write(tmp_path, make(inputs, only=SMALL, pictures=False))
        return tmp_path

    def test_what_was_made_follows(self, folder: Path) -> None:
        assert check(folder) == []

    @pytest.mark.slow
    def test_the_page_follows(self, page: Path) -> None:
        assert check(page) == []

    def test_files_that_differ_are_named(self, folder: Path) -> None:
        (folder / "report.md").write_text("changed")
        (folder / "tables" / "weights.csv").unlink()
        assert check(folder) == [
            "report.md: does not follow from today's tables and code",
            "tables/weights.csv: is missing",
        ]

    def test_rows_that_changed_are_named(self, folder: Path) -> None:
        path = folder / "provenance.json"
        content = json.loads(path.read_text())
        content["table_rows"][0]["value"] *= 2
        row = content["table_rows"][0]["row"]
        path.write_text(json.dumps(content))
        assert check(folder) == [f"provenance.json: row {row} has changed"]

    def test_a_changed_table_of_one_s_own(self, run, tmp_path: Path) -> None:
        from toytable import write_table

        own = write_table(tmp_path, "7nm,add,int8,,1,pJ,,,me,,measured,\n")
        folder = tmp_path / "report"
        write(folder, make(Inputs(run=run, table=str(own)), only=["layer"], pictures=False))
        assert check(folder) == []
        write_table(tmp_path, "7nm,add,int8,,2,pJ,,,me,,measured,\n")
        differing = check(folder)
        assert "tables/layer_energy.csv: does not follow from today's tables and code" in differing
        assert "provenance.json: row add int8 at 7nm has changed" in differing
        assert f"provenance.json: {own} has changed" in differing

    def test_pictures_of_other_versions_are_not_compared(
        self, inputs: Inputs, tmp_path: Path
    ) -> None:
        write(tmp_path, make(inputs, only=["trace"]))
        path = tmp_path / "provenance.json"
        content = json.loads(path.read_text())
        content["versions"]["matplotlib"] = "0"
        path.write_text(json.dumps(content))
        for picture in (tmp_path / "figures").iterdir():
            picture.write_bytes(b"of another version")
        assert check(tmp_path) == []

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (None, "not a report: no provenance.json"),
            ("{", "not a JSON file"),
            ("[]", "not the provenance of a report"),
            ('{"inputs": {"colour": 1}}', "unknown input colour"),
            ('{"inputs": {"models": [1]}}', "inputs are not as expected"),
            ('{"inputs": {"models": 1}}', "not the provenance of a report: TypeError"),
            ('{"inputs": {"array": 1}}', "not the provenance of a report: AttributeError"),
            ('{"inputs": {"run": 1}}', "run: must be what `hwsim simulate --json` writes"),
            ('{"inputs": {}, "only": 1}', "not the provenance of a report: TypeError"),
            ('{"inputs": {"clock_gating": false}}', "clock gating False: not known"),
            (
                '{"inputs": {}, "only": ["trace"], "pictures": false, "table_rows": [1]}',
                "not the provenance of a report: TypeError",
            ),
        ],
    )
    def test_anything_else_is_refused(self, tmp_path: Path, content, message: str) -> None:
        if content is not None:
            (tmp_path / "provenance.json").write_text(content)
        with pytest.raises(InputError, match=message):
            check(tmp_path)


def test_stale_files_go_and_others_stay(inputs: Inputs, tmp_path: Path) -> None:
    write(tmp_path, make(inputs, only=SMALL, pictures=False))
    (tmp_path / "mine.txt").write_text("mine")
    path = tmp_path / "provenance.json"
    content = json.loads(path.read_text())
    content["files"]["../outside.txt"] = ""
    path.write_text(json.dumps(content))
    outside = tmp_path.parent / "outside.txt"
    outside.write_text("not of the report")
    write(tmp_path, make(inputs, only=["trace"], pictures=False))
    left = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()}
    assert "mine.txt" in left
    assert outside.exists()
    assert "tables/cycles.csv" not in left
    assert "tables/weights.csv" in left


def test_names_are_text_everywhere(hostile_model: str) -> None:
    made = make(Inputs(models=(hostile_model,)), only=["model"], pictures=True)
    html, markdown = made["report.html"].decode(), made["report.md"].decode()
    assert "<script>document.title" not in html + markdown
    assert "&lt;script&gt;document.title" in html
    assert html.count("<script") == 3
    (model,) = json.loads(made["provenance.json"])["inputs"]["models"]
    assert model == hostile_model


def test_json_cannot_end_its_element() -> None:
    text = str(script_json({"x": "</script><!--\u2028"}))
    assert not re.search("[<>&\u2028]", text)
    assert json.loads(text) == {"x": "</script><!--\u2028"}


def test_the_library_is_the_one_that_is_noted() -> None:
    vendor = resources.files("hwsim.reports") / "vendor"
    checksum = hashlib.sha256((vendor / LIBRARY).read_bytes()).hexdigest()
    note = (vendor / "README.md").read_text()
    assert checksum in note
    (version,) = re.findall(r"plotly\.js ([0-9.]+)", note)
    assert f"v{version}" in (vendor / LIBRARY).read_text()[:200]


@pytest.mark.parametrize("name", ["published", "adder"])
def test_committed_reports_follow_from_today_s_tables(name: str) -> None:
    assert check(ROOT / "docs" / "reports" / name) == []


@pytest.mark.slow
def test_the_committed_run_is_what_the_hardware_does() -> None:
    from hwsim import engines, trace
    from hwsim.config import ArrayConfig

    path = ROOT / "docs" / "reports" / "adder" / "provenance.json"
    run = json.loads(path.read_text())["inputs"]["run"]
    with resources.as_file(resources.files("hwsim.data") / "adder-trace.safetensors") as file:
        layer = trace.read(file).layer(run["layer"]["name"])
    activity = engines.run(layer, ArrayConfig.make(**run["array"])).activity
    assert activity.cycles.as_dict() == run["cycles"]
    assert activity.as_dict() == run["activity"]


def test_the_picture_of_the_readme_is_today_s() -> None:
    path = ROOT / "docs" / "images" / "ratio.svg"
    made_with = json.loads((ROOT / "docs/reports/published/provenance.json").read_text())
    assert path.stat().st_size < 200_000
    if made_with["versions"]["matplotlib"] != matplotlib.__version__:
        pytest.skip("another version of matplotlib made it")
    now = files(figure("ratio"), "ratio", str(FIGURES["ratio"](Inputs()).caption))
    assert path.read_bytes() == now["svg"]
