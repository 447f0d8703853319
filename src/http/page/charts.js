// Two charts of the last minutes, drawn by uPlot, each with a text version below it.

/* global uPlot */
import { byId, colour, onScheme, setText } from "./dom.js";
import { micros, rate } from "./format.js";

const HEIGHT = 170;
const SPAN_SECONDS = 15 * 60;
/** With a top this high, the axis has whole numbers. */
const LEAST_TOP = 4;
const FONT = "11px system-ui, sans-serif";

class Chart {
  constructor(place, lines, format, scale) {
    Object.assign(this, { place, lines, format, scale, data: [[], ...lines.map(() => [])] });
    this.build();
    onScheme(() => this.build());
    new ResizeObserver(() => this.plot.setSize({ width: place.clientWidth, height: HEIGHT })).observe(place);
  }

  build() {
    this.plot?.destroy();
    const axis = { stroke: colour("--quiet"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, font: FONT };
    const options = {
      width: this.place.clientWidth || 300,
      height: HEIGHT,
      padding: [8, 8, 0, 0],
      legend: { show: false },
      cursor: { show: false },
      scales: {
        x: { time: true, range: (_, first, last) => [Math.min(first ?? 0, (last ?? 0) - SPAN_SECONDS / 15), last ?? 1] },
        y: { range: (_, low, high) => [0, Math.max(LEAST_TOP, (high ?? 1) * 1.1)] },
      },
      series: [{}, ...this.lines.map(({ colour: name, dash, fill }) => ({ stroke: colour(name), width: 1.6, dash, fill: fill && colour(fill), points: { show: false } }))],
      axes: [
        { ...axis, space: 70, size: 26, values: (_, ticks) => ticks.map((tick) => new Date(tick * 1000).toLocaleTimeString("en-GB")) },
        { ...axis, size: 58, space: 34, values: (_, ticks) => ticks.map((tick) => this.format(tick)) },
      ],
    };
    this.plot = new uPlot(options, this.data, this.place);
  }

  show(data) {
    this.data = data;
    this.plot.setData(data);
  }
}

let rates;
let latencies;

/** The last known value, the highest and the lowest, as text. */
function told(values, format) {
  const known = values.filter((value) => value !== null);
  return known.length ? { now: format(known.at(-1)), most: format(Math.max(...known)), least: format(Math.min(...known)) } : null;
}

export function showRates(history, name) {
  rates ??= new Chart(byId("rate-chart"), [{ colour: "--accent", fill: "--accent-soft" }], rate);
  const ofPool = history.rates(name);
  rates.show(ofPool);
  const speed = told(ofPool[1], rate);
  setText("rate-now", speed ? `now ${speed.now}` : "");
  setText("rate-said", speed ? `Between ${speed.least} and ${speed.most} per second while this page was open.` : "Available after the second sample.");
}

export function showLatencies(history) {
  latencies ??= new Chart(byId("latency-chart"), [{ colour: "--accent" }, { colour: "--second", dash: [5, 3] }], micros);
  const all = history.latencies();
  latencies.show(all);
  const [half, most] = [told(all[1], micros), told(all[2], micros)];
  setText("latency-now", half ? `p50 ${half.now} · p99 ${most.now}` : "");
  setText("latency-said", half ? `Each point over one minute. Solid: half of the leases took at most ${half.now} (p50). Dashed: 99 of 100 took at most ${most.now} (p99; ${most.most} at its highest).` : "No lease in the last minute.");
}
