"""The page in a real browser: what is clicked changes what is drawn."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hwsim.reports import Inputs
from hwsim.reports.folder import make, write

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the PATH"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Any, page: Path) -> Iterator[Any]:
    """Open a report; whatever a page logs or asks for beyond itself fails the test."""
    contexts, wrong = [], []

    def open_it(folder: Path = page, viewport: dict[str, int] = DESKTOP, **options: Any) -> Any:
        # Scrolling takes time otherwise, in which points move.
        context = browser.new_context(viewport=viewport, reduced_motion="reduce", **options)
        contexts.append(context)
        tab = context.new_page()
        tab.on("console", lambda message: wrong.append(message.text))
        tab.on("pageerror", lambda error: wrong.append(str(error)))
        address = (folder / "report.html").as_uri()

        def asked(request: Any) -> None:
            if request.url.partition("#")[0] != address and not request.url.startswith("data:"):
                wrong.append(request.url)

        tab.on("request", asked)
        tab.goto(address)
        return tab

    yield open_it
    for context in contexts:
        context.close()
    assert wrong == []


def bars(tab: Any) -> list[str]:
    """Return the shapes of the bars as they are drawn."""
    found: list[str] = tab.eval_on_selector_all(
        "#chart-parts .bars path", "paths => paths.map((path) => path.getAttribute('d'))"
    )
    return found


def drawn(tab: Any) -> int:
    """Return how many bars stand in the chart of parts."""
    tab.wait_for_selector("#chart-parts .bars path")
    return len(bars(tab))


def summary(tab: Any) -> str:
    return str(tab.inner_text("#summary"))


def point(tab: Any, model: str) -> tuple[float, float]:
    """Bring a model's point in the chart across sizes into sight; return where it is."""
    tab.eval_on_selector("#chart-sizes", "chart => chart.scrollIntoView()")
    x, y = tab.evaluate(
        """(model) => {
          const chart = document.getElementById("chart-sizes");
          const layout = chart._fullLayout;
          const i = chart.data[0].customdata.indexOf(model);
          const box = chart.getBoundingClientRect();
          return [
            box.x + layout.xaxis._offset + layout.xaxis.d2p(chart.data[0].x[i]),
            box.y + layout.yaxis._offset + layout.yaxis.d2p(chart.data[0].y[i]),
          ];
        }""",
        model,
    )
    return x, y


def hover(tab: Any, model: str) -> str:
    """Return what is shown beside a model's point."""
    x, y = point(tab, model)
    tab.mouse.move(x + 40, y + 40)
    tab.mouse.move(x, y)
    return str(tab.wait_for_selector("#chart-sizes .hoverlayer .hovertext").text_content())


def test_choices_change_what_is_drawn(open_page: Any) -> None:
    tab = open_page()
    assert drawn(tab)
    assert "scope system" in summary(tab)
    seen = [(bars(tab), summary(tab))]
    for name, value in (
        ("scope", "core"),
        ("node", "45nm"),
        ("phase", "prefill"),
        ("model", "llama-3.2-1b"),
    ):
        tab.select_option(f"[name={name}]", value)
        tab.wait_for_timeout(50)
        seen.append((bars(tab), summary(tab)))
        assert value in summary(tab)
    shapes, words = zip(*seen, strict=True)
    assert len(set(map(tuple, shapes))) == len(set(words)) == len(seen)
    tab.select_option("[name=format]", "int8")
    assert "in int8" in summary(tab)
    assert tab.inner_text("#table-parts caption").startswith("llama-3.2-1b in int8")


def test_a_click_on_a_point_chooses_its_model(open_page: Any) -> None:
    tab = open_page()
    drawn(tab)
    before = bars(tab)
    tab.mouse.click(*point(tab, "bitnet-b1.58-70b"))
    tab.wait_for_function("document.querySelector('[name=model]').value === 'bitnet-b1.58-70b'")
    assert summary(tab).startswith("bitnet-b1.58-70b")
    assert bars(tab) != before


def test_hover_shows_value_range_kind_and_source(open_page: Any) -> None:
    tab = open_page()
    drawn(tab)
    words = hover(tab, "bitnet-b1.58-7b")
    assert re.search(r"energy over ternary: [0-9.]+ \([0-9.]+ to [0-9.]+\) times", words)
    assert "kind: " in words
    assert "weights_dram: dram hbm2 at any" in words


def test_numbers_are_those_of_the_csv(open_page: Any, page: Path) -> None:
    tab = open_page()
    cells = tab.eval_on_selector_all(
        "#table-formats td.n, #table-parts td.n",
        "cells => cells.map((cell) => cell.dataset.value)",
    )
    values = {
        float(value)
        for value in re.findall(r"[-0-9.e+]+", (page / "tables" / "points.csv").read_text())
        if re.fullmatch(r"-?[0-9.]+(e[-+][0-9]+)?", value)
    }
    assert len(cells) > 80
    assert {float(cell) for cell in cells} <= values


def test_published_points_stand_where_they_belong(open_page: Any) -> None:
    tab = open_page()
    names = "document.getElementById('chart-sizes').data.map((trace) => trace.name)"
    assert tab.evaluate(names) == ["fp16"]
    tab.select_option("[name=scope]", "arithmetic")
    tab.select_option("[name=phase]", "prefill")
    assert tab.evaluate(names) == ["fp16", "published"]


def test_keys_are_enough(open_page: Any) -> None:
    tab = open_page()
    tab.focus("[name=node]")
    tab.keyboard.press("ArrowUp")
    assert "45nm" in summary(tab)
    tab.focus("#chart-sizes")
    before = tab.input_value("[name=model]")
    tab.keyboard.press("ArrowRight")
    assert tab.input_value("[name=model]") != before
    tab.keyboard.press("ArrowLeft")
    assert tab.input_value("[name=model]") == before
    tab.focus("#table-parts a[href^='#row-']")
    tab.keyboard.press("Enter")
    row = tab.wait_for_selector("tr:target")
    assert row.get_attribute("id").startswith("row-")


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits(open_page: Any, viewport: dict[str, int], scheme: str) -> None:
    tab = open_page(viewport=viewport, color_scheme=scheme)
    drawn(tab)
    wide = tab.evaluate("document.documentElement.scrollWidth")
    assert wide <= viewport["width"]
    background = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    ink = tab.evaluate("document.getElementById('chart-parts').layout.font.color")
    light = [sum(map(int, re.findall("[0-9]+", colour)[:3])) for colour in (background, ink)]
    assert (light[0] > light[1]) == (scheme == "light")
    assert abs(light[0] - light[1]) > 400


def test_without_scripts_tables_and_pictures_are_there(open_page: Any) -> None:
    tab = open_page(java_script_enabled=False)
    assert not tab.is_visible("#explore")
    assert tab.is_visible("noscript .note")
    pictures = tab.query_selector_all("figure img")
    assert len(pictures) == 8
    for picture in pictures:
        picture.scroll_into_view_if_needed()
        box = picture.bounding_box()
        assert box["width"] > 300
        assert box["height"] > 100
    assert tab.is_visible("#table-of-formats td >> text=w4a16")


def test_names_show_as_text(
    open_page: Any, run: dict[str, Any], hostile_model: str, tmp_path: Path
) -> None:
    hostile_run = {**run, "layer": {**run["layer"], "name": hostile_model}}
    folder = tmp_path / "report"
    write(folder, make(Inputs(models=(hostile_model,), run=hostile_run), only=["layer"]))
    tab = open_page(folder)
    assert hostile_model in summary(tab)
    assert hostile_model in tab.inner_text("h2 >> nth=1")
    assert hostile_model.rpartition("/")[2] in hover(tab, hostile_model)
    assert tab.title() == "Layers of hwsim adder on the hardware"
    assert tab.evaluate("document.querySelectorAll('script').length") == 3
