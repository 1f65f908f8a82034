// Draws the charts of the timing pages with uPlot, from the JSON that each
// .plot carries. A page without scripts shows the tables below them.
(function () {
  "use strict";

  const drawn = new Map(); // element -> uPlot
  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const hour = (h) => String(h).padStart(2, "0") + ":00";
  const font = "12px system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif";
  const hours = Array.from({ length: 24 }, (_, h) => h);

  function axes(x, y, left) {
    const line = { stroke: color("--line-soft"), width: 1 };
    const look = { stroke: color("--soft"), grid: line, ticks: { ...line, size: 4 }, font: font, labelFont: font };
    return [
      { ...look, size: 22, gap: 3, labelSize: 18, ...x },
      { ...look, size: left || 40, gap: 4, labelSize: 20, ...y },
    ];
  }

  function across(u, y, stroke, dash) { // a level line
    const top = Math.round(u.valToPos(y, "y", true));
    const c = u.ctx;
    c.save();
    c.strokeStyle = stroke;
    c.lineWidth = devicePixelRatio * 1.25;
    c.setLineDash(dash.map((d) => d * devicePixelRatio));
    c.beginPath();
    c.moveTo(u.bbox.left, top);
    c.lineTo(u.bbox.left + u.bbox.width, top);
    c.stroke();
    c.restore();
  }

  function column(u, h, fill) { // one hour, from top to bottom
    const from = Math.max(u.valToPos(h - 0.5, "x", true), u.bbox.left);
    const to = Math.min(u.valToPos(h + 0.5, "x", true), u.bbox.left + u.bbox.width);
    u.ctx.fillStyle = fill;
    u.ctx.fillRect(from, u.bbox.top, to - from, u.bbox.height);
  }

  function shade(u, d) { // hours that were never explored, and the best one
    u.ctx.save();
    if (d.explored) {
      hours.filter((h) => !d.explored.includes(h)).forEach((h) => column(u, h, color("--unexplored")));
    }
    if (d.best !== undefined) column(u, d.best, color("--best-ground"));
    u.ctx.restore();
  }

  function pointer(u, h, y) { // a triangle above the best hour's point
    const c = u.ctx, r = 6 * devicePixelRatio;
    const x = u.valToPos(h, "x", true), top = u.valToPos(y, "y", true) - r * 0.9;
    c.save();
    c.fillStyle = color("--text");
    c.beginPath();
    c.moveTo(x, top);
    c.lineTo(x - r, top - r * 1.5);
    c.lineTo(x + r, top - r * 1.5);
    c.closePath();
    c.fill();
    c.restore();
  }

  const day = {
    scales: (range) => ({ x: { time: false, range: [-0.5, 23.5] }, y: { range: range } }),
    splits: () => [0, 3, 6, 9, 12, 15, 18, 21],
    names: (_, list) => list.map((h) => String(h).padStart(2, "0")),
  };

  const kinds = {
    curve(d) {
      const band = d.low && d.high, series = [{}], data = [hours];
      const add = (values, look) => { series.push({ points: { show: false }, ...look }); data.push(values); };
      if (band) {
        add(d.high, { stroke: "transparent" });
        add(d.low, { stroke: "transparent" });
      }
      if (d.everybody) add(d.everybody, { stroke: color("--soft"), width: 1.5, dash: [3, 4] });
      add(d.curve, { stroke: color("--fill"), width: 2.5 });
      return {
        height: 190, data: data,
        options: {
          series: series, scales: day.scales(d.range),
          bands: band ? [{ series: [1, 2], fill: color("--band") }] : [],
          axes: axes({ splits: day.splits, values: (_, list) => list.map(() => ""), size: 6 },
            { label: "times the average", values: (_, list) => list.map((v) => v.toFixed(list.every((x) => Math.abs(x * 10 - Math.round(x * 10)) < 1e-6) ? 1 : 2)), space: 34 }),
          hooks: {
            drawClear: [(u) => { shade(u, d); across(u, 1, color("--soft"), []); }],
            draw: [(u) => { if (d.best !== undefined) pointer(u, d.best, d.curve[d.best]); }],
          },
        },
        say: (i) => d.curve[i].toFixed(2) + " times" + (band ? " (" + d.low[i].toFixed(2) + "–" + d.high[i].toFixed(2) + ")" : ""),
      };
    },
    rhythm(d) {
      return {
        height: 120, data: [hours, d.rhythm.map((v) => v * 100)],
        options: {
          series: [{}, { fill: color("--rhythm"), stroke: color("--rhythm"), width: 0, paths: uPlot.paths.bars({ size: [0.68] }), points: { show: false } }],
          scales: day.scales([0, d.range[1] * 100]),
          axes: axes({ splits: day.splits, values: day.names, label: "local hour" }, { label: "activity, %", space: 26 }),
          hooks: { drawClear: [(u) => shade(u, d)] },
        },
        say: (i) => (d.rhythm[i] * 100).toFixed(1) + "% active",
      };
    },
    residual(d) {
      return {
        height: 170, data: [d.days, d.values],
        options: {
          series: [{}, {
            stroke: color("--fill"), width: 1, paths: () => null,
            points: { show: true, size: 8, fill: color("--fill"), stroke: color("--card"), width: 1 },
          }],
          scales: { x: { time: true, range: padded }, y: { range: d.range } },
          axes: axes({ values: (_, list) => list.map(() => ""), size: 6 }, { label: "standard errors", values: (_, list) => list.map((v) => String(v).replace("-", "\u2212")), space: 30 }),
          hooks: { drawClear: [(u) => across(u, 0, color("--soft"), [])] },
        },
        say: (i) => (d.values[i] === null ? "too few messages" : d.values[i].toFixed(1) + " standard errors"),
      };
    },
    level(d) {
      return {
        height: 150, data: [d.days, d.values],
        options: {
          series: [{}, { stroke: color("--fill"), width: 2.5, points: { show: d.days.length < 3 } }],
          scales: { x: { time: true, range: padded }, y: { range: d.range } },
          axes: axes({ values: dates, space: 60, label: "day (UTC)" }, { label: "level", space: 30 }),
          hooks: { draw: [(u) => across(u, d.threshold, color("--bad"), [7, 4])] },
        },
        say: (i) => "level " + d.values[i].toFixed(1) + " of " + d.threshold,
      };
    },
  };

  const half = 43200; // of a day, in seconds
  function padded(_, from, to) { return [from - half, to + half]; }
  function date(s) { return new Date(s * 1000).toLocaleDateString("en-GB", { day: "numeric", month: "short", timeZone: "UTC" }); }
  function dates(_, list) { return list.map((s) => (s % 86400 === 0 ? date(s) : "")); }

  // readout writes what lies below the pointer in words, for all charts of a figure.
  function readout(figure) {
    const place = figure && figure.querySelector("[data-readout]");
    if (!place) return;
    const words = [];
    let at = "";
    figure.querySelectorAll(".plot").forEach((el) => {
      const chart = drawn.get(el);
      if (!chart || chart.u.cursor.idx === null || chart.u.cursor.idx === undefined) return;
      const i = chart.u.cursor.idx;
      at = chart.d.days ? date(chart.d.days[i]) : hour(i);
      words.push(chart.say(i));
    });
    place.textContent = words.length ? at + " · " + words.join(" · ") : "\u00a0";
  }

  function draw(el) {
    const d = JSON.parse(el.dataset.chart), make = kinds[d.kind];
    if (!make) return;
    const old = drawn.get(el);
    if (old) old.u.destroy();
    const plan = make(d), figure = el.closest("[data-figure]");
    plan.options.hooks.setCursor = [() => readout(figure)];
    const options = {
      width: Math.max(el.clientWidth, 120), height: plan.height, legend: { show: false }, padding: [14, 8, 0, 0],
      cursor: { sync: { key: d.sync }, y: false, drag: { x: false, y: false }, points: { show: d.kind !== "rhythm", size: 7 } },
      tzDate: (ts) => uPlot.tzDate(new Date(ts * 1000), "UTC"),
      ...plan.options,
    };
    drawn.set(el, { u: new uPlot(options, plan.data, el), d: d, say: plan.say, height: plan.height });
  }

  const resized = new ResizeObserver((list) => {
    list.forEach((e) => {
      const chart = drawn.get(e.target), width = Math.floor(e.contentRect.width);
      if (chart && width > 0 && width !== chart.u.width) chart.u.setSize({ width: width, height: chart.height });
    });
  });

  function drawAll() {
    drawn.forEach((chart, el) => {
      if (!el.isConnected) { resized.unobserve(el); chart.u.destroy(); drawn.delete(el); }
    });
    document.querySelectorAll("[data-chart]").forEach((el) => {
      if (drawn.has(el)) return;
      draw(el);
      resized.observe(el);
    });
  }

  drawAll();
  document.addEventListener("htmx:afterSettle", drawAll);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawn.forEach((_, el) => draw(el)));
})();
