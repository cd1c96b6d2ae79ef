// Charts and tables that follow the choices. All numbers are those of tables/points.csv.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const points = data.rows.map((row) => Object.fromEntries(row.map((value, i) => [data.columns[i], value])));
  const form = document.getElementById("choices");
  const choose = (name) => form.elements[name];
  const chosen = (name) => choose(name).value;

  // What can be drawn across sizes: a column, its unit and the factor to it, and columns of its range.
  const quantities = {
    over_ternary: { name: "energy over ternary", unit: "times", factor: 1, low: "over_ternary_low", high: "over_ternary_high" },
    energy_j: { name: "energy", unit: "mJ/token", factor: 1e3, low: "energy_low_j", high: "energy_high_j" },
    latency_s: { name: "latency of a run", unit: "ms", factor: 1e3 },
    tokens_per_s: { name: "throughput", unit: "tokens/s", factor: 1 },
    utilisation: { name: "utilisation", unit: "%", factor: 100 },
    footprint_bytes: { name: "memory occupied", unit: "MB", factor: 1e-6 },
    weight_bytes: { name: "weights read in a run", unit: "MB", factor: 1e-6 },
  };

  const number = (value) => {
    if (value === null || value === undefined) return "";
    if (Number.isInteger(value) || Math.abs(value) >= 1e4) return Math.round(value).toLocaleString("en-US");
    return String(Number(value.toPrecision(4)));
  };
  const range = (low, value, high) =>
    low === high ? `${number(value)} (no range)` : `${number(value)} (${number(low)} to ${number(high)})`;
  // Plotly reads a few tags in texts that it is given; names are only ever shown as they are.
  const text = (words) => String(words).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

  const fill = (name, values, labels = values) => {
    values.forEach((value, i) => choose(name).add(new Option(labels[i], value)));
  };
  fill("node", data.nodes);
  fill("scope", data.scopes);
  fill("phase", data.phases);
  fill("format", data.formats);
  fill("model", data.models);
  fill("quantity", Object.keys(quantities), Object.values(quantities).map((q) => `${q.name} (${q.unit})`));
  for (const name of ["node", "scope", "phase", "model"]) choose(name).value = data.chosen[name];

  const select = (wanted) => points.filter((p) => Object.entries(wanted).every(([name, value]) => p[name] === value));
  const setting = () => ({ node: chosen("node"), scope: chosen("scope"), phase: chosen("phase") });
  const sourcesOf = (point, part) => (data.sources[`${point.node} ${point.format}`] || {})[part];
  const inScope = (point) => data.parts_of[point.scope];

  // The rows that most of a point's energy is priced with: those of its largest parts.
  const mainSources = (point) => {
    const parts = inScope(point).filter((part) => point[`${part}_j`] > 0.1 * point.energy_j);
    return parts.map((part) => `${part}: ${(sourcesOf(point, part) || { rows: [] }).rows.join(", ")}`);
  };

  const ink = () => getComputedStyle(document.body).color;
  const layout = (more) => {
    const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name);
    const line = colour("--line");
    const axis = { gridcolor: line, linecolor: line, zerolinecolor: line, automargin: true };
    return {
      showlegend: true, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { color: ink(), size: 13 },
      margin: { l: 60, r: 12, t: 10, b: 55 }, hovermode: "closest", hoverlabel: { align: "left", bgcolor: colour("--paper"), bordercolor: ink(), font: { color: ink() } },
      legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0 },
      ...more, xaxis: { ...axis, ...more.xaxis }, yaxis: { ...axis, ...more.yaxis },
    };
  };
  const config = { responsive: true, displaylogo: false, displayModeBar: false };

  const drawSizes = () => {
    const quantity = quantities[chosen("quantity")];
    const column = chosen("quantity");
    // Over itself, ternary is 1 everywhere.
    const formats = column === "over_ternary" ? [chosen("format")] : [...new Set([chosen("format"), "ternary"])];
    const traces = formats.map((format) => {
      const found = select({ ...setting(), format });
      const at = (name) => found.map((p) => p[name] * quantity.factor);
      const value = at(column);
      const low = quantity.low ? at(quantity.low) : value;
      const high = quantity.high ? at(quantity.high) : value;
      return {
        type: "scatter", mode: "markers", name: format,
        x: found.map((p) => p.linear_weights / 1e9), y: value, customdata: found.map((p) => p.model),
        error_y: { type: "data", symmetric: false, array: high.map((h, i) => h - value[i]), arrayminus: low.map((l, i) => value[i] - l) },
        marker: {
          opacity: 1, color: data.colours[format], symbol: format === "ternary" ? "circle" : "square",
          size: found.map((p) => (p.model === chosen("model") ? 17 : 9)),
          line: { color: ink(), width: found.map((p) => (p.model === chosen("model") ? 2 : 0)) },
        },
        hovertext: found.map((p, i) => [
          `<b>${text(p.model)}</b>${p.as_if ? " (as if ternary)" : ""}, ${text(format)}`,
          `${quantity.name}: ${range(low[i], value[i], high[i])} ${quantity.unit}`,
          ...(quantity.low ? [`kind: ${p.kind}`, ...mainSources(p).map(text)] : ["kind: derived", "source: predicted cycles and shapes"]),
        ].join("<br>")),
        hoverinfo: "text",
      };
    });
    const asPublished = Object.entries(data.published_for).every(([name, value]) => chosen(name) === value)
      && select(setting()).every((p) => p.tokens === data.published_tokens);
    if (asPublished) {
      const printed = data.published.map((f) => ({ ...f, point: select({ ...setting(), model: f.model, format: "fp16" })[0] })).filter((f) => f.point);
      traces.push({
        type: "scatter", mode: "markers", name: "published",
        x: printed.map((f) => f.point.linear_weights / 1e9), y: printed.map((f) => f.printed), customdata: printed.map((f) => f.model),
        marker: { symbol: "star", size: 14, color: data.published_colour, line: { color: ink(), width: 1 } },
        hovertext: printed.map((f) => [`<b>${text(f.model)}</b>, published`, `${number(f.printed)} times (no range)`, "kind: published", text(f.source)].join("<br>")),
        hoverinfo: "text",
      });
    }
    Plotly.react("chart-sizes", traces, layout({
      xaxis: { type: "log", title: { text: "weights in linear layers (10⁹)" }, dtick: 1 },
      yaxis: { type: "log", title: { text: `${quantity.name} (${quantity.unit})` } },
    }), config);
    document.getElementById("caption-sizes").textContent = document.getElementById("chart-sizes").ariaLabel =
      `${traces.length > formats.length ? "Stars are the published points. " : ""}${quantity.name[0].toUpperCase()}${quantity.name.slice(1)} of all models in ${formats.join(" and ")}, scope ${chosen("scope")}, ${chosen("phase")}, ${chosen("node")}.`;
  };

  const partText = (point, part) => {
    const value = point[`${part}_j`];
    const low = point[`${part}_low_j`] ?? value;
    const high = point[`${part}_high_j`] ?? value;
    const use = sourcesOf(point, part);
    const words = `${part}: ${range(low * 1e3, value * 1e3, high * 1e3)} mJ/token`;
    return use ? `${words}, ${use.kind}, ${use.rows.join(", ")}` : words;
  };

  const drawParts = () => {
    const found = select({ ...setting(), model: chosen("model") });
    const traces = data.groups.map((group) => ({ group, parts: group.parts.filter((part) => data.parts_of[chosen("scope")].includes(part)) }))
      .filter(({ parts }) => parts.length)
      .map(({ group, parts }) => ({
        type: "bar", name: group.name, x: found.map((p) => p.format),
        y: found.map((p) => 1e3 * parts.reduce((sum, part) => sum + p[`${part}_j`], 0)),
        customdata: found.map((p) => p.format),
        marker: { color: group.colour, line: { color: ink(), width: found.map((p) => (p.format === chosen("format") ? 1.5 : 0)) } },
        hovertext: found.map((p) => [`<b>${text(group.name)}</b>, ${text(p.format)}`, ...parts.filter((part) => p[`${part}_j`]).map((part) => text(partText(p, part)))].join("<br>")),
        hoverinfo: "text",
      }));
    Plotly.react("chart-parts", traces, layout({
      barmode: "relative",
      xaxis: { title: { text: "number format" }, tickvals: data.formats, ticktext: data.formats.map((f) => f.replace("_", "<br>")), tickangle: 0 },
      legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0, entrywidth: document.getElementById("chart-parts").clientWidth < 480 ? 1 : 0.45, entrywidthmode: "fraction" },
      yaxis: { title: { text: "energy (mJ/token)" } },
    }), config);
    document.getElementById("caption-parts").textContent = document.getElementById("chart-parts").ariaLabel =
      `Energy of a token of ${chosen("model")} by format and part, scope ${chosen("scope")}, ${chosen("phase")}, ${chosen("node")}.`;
  };

  const element = (tag, content, attributes = {}) => {
    const made = Object.assign(document.createElement(tag), attributes);
    made.append(...[content].flat());
    return made;
  };
  const links = (rows) => rows.flatMap((row, i) => [...(i ? [", "] : []), element("a", row, { href: `#${data.anchors[row]}` })]);
  const cell = (value) => {
    if (typeof value !== "number") return element("td", value ?? "");
    const made = element("td", number(value), { className: "n" });
    made.dataset.value = value;
    return made;
  };
  const table = (id, caption, head, rows) => {
    document.getElementById(id).replaceChildren(
      element("caption", caption),
      element("thead", element("tr", head.map((name) => element("th", name, { scope: "col" })))),
      element("tbody", rows.map(({ cells, marked }) => element("tr", cells.map(cell), { className: marked ? "chosen" : "" }))),
    );
  };

  const fillTables = () => {
    const found = select({ ...setting(), model: chosen("model") });
    table("table-formats", `${chosen("model")}: totals by format`,
      ["format", "energy (J/token)", "low", "high", "over ternary", "low", "high", "kind", "latency (s/run)", "tokens/s", "weights read (B/run)", "footprint (B)"],
      found.map((p) => ({
        marked: p.format === chosen("format"),
        cells: [p.format, p.energy_j, p.energy_low_j, p.energy_high_j, p.over_ternary, p.over_ternary_low, p.over_ternary_high, p.kind, p.latency_s, p.tokens_per_s, p.weight_bytes, p.footprint_bytes],
      })));
    const point = found.find((p) => p.format === chosen("format"));
    table("table-parts", `${chosen("model")} in ${point.format}: parts, and the rows that price them`,
      ["part", "energy (J/token)", "low", "high", "kind", "rows"],
      inScope(point).map((part) => {
        const value = point[`${part}_j`];
        const use = sourcesOf(point, part) || { kind: "not there", rows: [] };
        return { cells: [element("a", part, { href: `#part-${part}` }), value, point[`${part}_low_j`] ?? value, point[`${part}_high_j`] ?? value, use.kind, links(use.rows)] };
      }));
    const over = point.over_ternary;
    document.getElementById("summary").textContent =
      `${point.model}, ${point.phase} of ${point.tokens} token${point.tokens > 1 ? "s" : ""}, ${point.node}, scope ${point.scope}: ` +
      `${range(point.energy_low_j * 1e3, point.energy_j * 1e3, point.energy_high_j * 1e3)} mJ/token in ${point.format}, ` +
      `${range(point.over_ternary_low, over, point.over_ternary_high)} times ternary; kind ${point.kind}.`;
  };

  const draw = () => { drawSizes(); drawParts(); fillTables(); };

  // Move a choice to the next value that a chart shows, and draw.
  const step = (name, values, by) => {
    const next = values[(values.indexOf(chosen(name)) + by + values.length) % values.length];
    choose(name).value = next;
    draw();
  };
  const wire = (id, name, values) => {
    const chart = document.getElementById(id);
    chart.on("plotly_click", (event) => { choose(name).value = event.points[0].customdata; draw(); });
    chart.addEventListener("keydown", (event) => {
      const by = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key];
      if (!by) return;
      event.preventDefault();
      step(name, values, by);
    });
  };

  for (const made of document.querySelectorAll(".scripted")) made.hidden = false;
  draw();
  wire("chart-sizes", "model", data.models);
  wire("chart-parts", "format", data.formats);
  form.addEventListener("input", draw);
  form.addEventListener("submit", (event) => event.preventDefault());
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  // The first drawing of this library measures before fonts and layout have settled.
  window.addEventListener("load", draw);
})();
