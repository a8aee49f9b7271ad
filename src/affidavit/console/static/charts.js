/* Draws the charts of a page: each figure.chart has its data in an attribute, and a drawing by the
   server that is replaced here. Dragging over one asks for that span of time. */
"use strict";
(() => {
  const language = document.documentElement.lang || "en";
  const words = JSON.parse(document.body.dataset.words || "{}");
  const drawn = new Map();

  const plain = new Intl.NumberFormat(language, { maximumFractionDigits: 2 });
  const brief = new Intl.NumberFormat(language, { notation: "compact", maximumFractionDigits: 1 });
  const dollars = (value) => new Intl.NumberFormat(language, {
    style: "currency", currency: "USD", currencyDisplay: "narrowSymbol",
    maximumFractionDigits: Math.abs(value) >= 1 || value === 0 ? 2 : 6,
  }).format(value);
  const sizes = ["B", "KiB", "MiB", "GiB", "TiB"];
  function bytes(value) {
    let unit = 0;
    let left = value;
    while (Math.abs(left) >= 1024 && unit < sizes.length - 1) { left /= 1024; unit += 1; }
    return `${plain.format(Number(left.toFixed(1)))} ${sizes[unit]}`;
  }
  const duration = (value) => (value < 1000 ? `${plain.format(Math.round(value))} ms` : `${plain.format(Number((value / 1000).toFixed(2)))} s`);
  const written = {
    number: (value) => plain.format(value), usd: dollars, ms: duration, size: bytes,
    percent: (value) => `${plain.format(Number((value * 100).toFixed(2)))} %`,
  };
  const onAxis = { ...written, number: (value) => brief.format(value) };

  function colour(tone) {
    const probe = document.createElement("span");
    probe.className = `tone-probe tone-${tone}`;
    document.body.append(probe);
    const found = getComputedStyle(probe).color;
    probe.remove();
    return found;
  }
  function ink(name) {
    const probe = document.createElement("span");
    probe.className = name;
    document.body.append(probe);
    const found = getComputedStyle(probe).color;
    probe.remove();
    return found;
  }

  function times(step) {
    const day = new Intl.DateTimeFormat(language, { day: "numeric", month: "short" });
    const hour = new Intl.DateTimeFormat(language, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
    const both = new Intl.DateTimeFormat(language, { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", hourCycle: "h23", timeZoneName: "short" });
    return {
      axis: (splits, gap) => splits.map((at) => {
        const when = new Date(at * 1000);
        const midnight = when.getHours() === 0 && when.getMinutes() === 0;
        return gap >= 86400 || midnight ? day.format(when) : hour.format(when);
      }),
      tip: (at) => (step >= 86400 ? day : both).format(new Date(at * 1000)),
    };
  }

  function draw(figure) {
    const data = JSON.parse(figure.dataset.chart);
    const plot = figure.querySelector(".chart-plot");
    if (!data.x.length || !plot.querySelector("svg")) return;
    const stacked = data.kind === "stacked";
    const values = data.series.map((one) => one.values);
    let tops = values;
    if (stacked) {
      const sums = new Array(data.x.length).fill(0);
      tops = values.map((row) => row.map((value, i) => { sums[i] += value || 0; return sums[i]; }));
    }
    // The last series of a stack reaches highest, so it is drawn first and lies behind.
    const order = data.series.map((_, i) => i);
    if (stacked) order.reverse();
    const unit = written[data.unit] ? data.unit : "number";
    const when = times(data.step_s);
    const grid = { stroke: ink("chart-line-ink"), width: 1 };
    const text = ink("muted");
    const tip = document.createElement("div");
    tip.className = "chart-tip";
    tip.hidden = true;
    const bars = uPlot.paths.bars({ size: [0.82, 60], align: 1, gap: 0 });

    function showTip(u) {
      const i = u.cursor.idx;
      if (i === null || i === undefined || u.cursor.left < 0) { tip.hidden = true; return; }
      tip.replaceChildren();
      for (const line of [when.tip(data.x[i]), ...data.series.map((one) => {
        const value = one.values[i];
        return `${one.name}: ${value === null || value === undefined ? "–" : written[unit](value)}`;
      })]) {
        const row = document.createElement("span");
        row.textContent = line;
        tip.append(row);
      }
      tip.hidden = false;
      const left = u.cursor.left + u.over.offsetLeft;
      const room = plot.clientWidth - tip.offsetWidth - 12;
      tip.style.left = `${Math.max(0, left + 12 > room ? left - tip.offsetWidth - 12 : left + 12)}px`;
      tip.style.top = "4px";
    }

    function zoomed(u) {
      const { left, width } = u.select;
      if (!data.zoom || width < 6) return;
      const [since, until] = [left, left + width].map((x) => Math.round(u.posToVal(x, "x")));
      const name = (at) => encodeURIComponent(new Date(at * 1000).toISOString());
      if (until > since) window.location.assign(data.zoom.replace("SINCE", name(since)).replace("UNTIL", name(until)));
    }

    const options = {
      width: plot.clientWidth,
      height: plot.clientHeight,
      padding: [8, 18, 0, 0],
      legend: { show: false },
      cursor: {
        y: false,
        points: { show: data.kind === "line" },
        drag: { x: Boolean(data.zoom), y: false, setScale: false },
        sync: { key: "charts" },
      },
      scales: {
        x: { time: true, range: () => [data.x[0], data.x[data.x.length - 1] + (data.kind === "line" ? 0 : data.step_s)] },
        y: { range: (_, low, high) => [Math.min(0, low || 0), high > 0 ? high * 1.05 : 1] },
      },
      axes: [
        { stroke: text, grid: { show: false }, ticks: { show: false }, size: 26, space: 70, font: "11px system-ui, sans-serif", values: (_, splits, __, ___, gap) => when.axis(splits, gap) },
        { stroke: text, grid, ticks: { show: false }, size: unit === "size" ? 72 : 56, space: 34, font: "11px system-ui, sans-serif", values: (_, splits) => splits.map((value) => onAxis[unit](value)) },
      ],
      series: [{}, ...order.map((i) => {
        const one = data.series[i];
        const tone = colour(one.tone || i + 1);
        return data.kind === "line"
          ? { label: one.name, stroke: tone, width: 1.75, spanGaps: false, points: { show: data.x.length < 3 } }
          : { label: one.name, fill: tone, stroke: tone, width: 0, paths: bars, points: { show: false } };
      })],
      hooks: { setCursor: [showTip], setSelect: [zoomed] },
    };
    const still = [...plot.children];
    plot.replaceChildren();
    try {
      const made = new uPlot(options, [data.x, ...order.map((i) => tops[i])], plot);
      plot.append(tip);
      plot.setAttribute("role", "img");
      plot.setAttribute("aria-label", figure.querySelector("h3")?.textContent || "");
      if (data.zoom) plot.title = words.zoom;
      plot.addEventListener("mouseleave", () => { tip.hidden = true; });
      drawn.set(figure, { made, still, plot });
    } catch {
      plot.replaceChildren(...still);
    }
  }

  function redraw(figure) {
    const known = drawn.get(figure);
    if (known) {
      known.made.destroy();
      known.plot.replaceChildren(...known.still);
      drawn.delete(figure);
    }
    draw(figure);
  }

  function all() {
    for (const [figure, known] of drawn) {
      if (!figure.isConnected) { known.made.destroy(); drawn.delete(figure); }
    }
    for (const figure of document.querySelectorAll("figure.chart")) {
      if (!drawn.has(figure)) draw(figure);
    }
  }

  const sizesSeen = new ResizeObserver(() => {
    for (const { made, plot } of drawn.values()) {
      if (plot.clientWidth && plot.clientWidth !== made.width) made.setSize({ width: plot.clientWidth, height: plot.clientHeight });
    }
  });
  sizesSeen.observe(document.body);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => [...drawn.keys()].forEach(redraw));
  new MutationObserver((changes) => {
    const came = changes.some((change) => [...change.addedNodes].some((node) => node.nodeType === 1 && (node.matches("figure.chart") || node.querySelector("figure.chart"))));
    if (came) all();
  }).observe(document.body, { childList: true, subtree: true });
  if (typeof uPlot === "function") all();
})();
