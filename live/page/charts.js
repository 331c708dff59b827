// The last minutes of a number as lines, by uPlot: in the page's colours, read by mouse or arrow keys, told in words.

import { timeOfDay } from "./text.js";

const WINDOW_S = 300;
const WINDOW_MIN_S = 60; // of a page just opened: its line need not begin in a corner
const HEIGHT_PX = 190;
const TOLD_EVERY_S = 5;

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** Lines over the last WINDOW_S. `names` are those of the series, `text` makes a person's number of a value. */
export class Chart {
  constructor(figure, names, text) {
    this.plot = figure.querySelector(".plot");
    this.caption = figure.querySelector("figcaption");
    this.names = names;
    this.text = text;
    this.times = [];
    this.values = names.map(() => []);
    this.toldS = 0;
    this.reading = false;
    this.draw();
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
    new ResizeObserver(() => this.resize()).observe(this.plot);
    this.plot.addEventListener("keydown", (event) => this.step(event));
    this.plot.addEventListener("blur", () => this.leave());
  }

  /** One moment: epoch seconds and a value for each series; null where none is known, which breaks the line. */
  add(timeS, values) {
    if (timeS <= this.times.at(-1)) return; // a clock that was set back
    this.times.push(timeS);
    values.forEach((value, series) => this.values[series].push(value));
    while (this.times[0] < timeS - WINDOW_S) {
      this.times.shift();
      this.values.forEach((series) => series.shift());
    }
    if (!document.hidden) this.uplot.setData([this.times, ...this.values]);
    if (!this.reading && Math.abs(timeS - this.toldS) >= TOLD_EVERY_S) this.tell(timeS);
  }

  /** The line ends here: what comes next is from behind a gap. */
  gap() {
    if (this.times.length && this.values.some((series) => series.at(-1) !== null)) {
      this.add(this.times.at(-1) + 0.001, this.names.map(() => null));
    }
  }

  tell(timeS) {
    this.toldS = timeS;
    const told = this.names.map((name, series) => {
      const known = this.values[series].filter((value) => value !== null);
      if (!known.length) return `${name}: none yet`;
      const [least, most] = [Math.min(...known), Math.max(...known)].map(this.text);
      return `${name} ${least} to ${most}`;
    });
    const minutes = Math.max(1, Math.round((this.times.at(-1) - this.times[0]) / 60));
    this.caption.textContent = `Last ${minutes === 1 ? "minute" : `${minutes} minutes`}: ${told.join(", ")}`;
  }

  step(event) {
    const by = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity }[event.key];
    if (by === undefined || !this.times.length) return;
    event.preventDefault();
    const last = this.times.length - 1;
    const from = this.reading ? (this.uplot.cursor.idx ?? last) : last;
    const index = Math.min(last, Math.max(0, from + by));
    this.caption.setAttribute("aria-live", "polite"); // asked for, key by key
    this.uplot.setCursor({ left: this.uplot.valToPos(this.times[index], "x"), top: 10 });
  }

  leave() {
    this.caption.removeAttribute("aria-live");
    this.uplot.setCursor({ left: -10, top: -10 });
  }

  read(index) {
    this.reading = index !== null && index !== undefined && this.uplot?.cursor.left >= 0;
    if (!this.reading) {
      this.toldS = 0;
      return;
    }
    const told = this.names.map((name, series) => {
      const value = this.values[series][index];
      return `${name} ${value === null ? "unknown" : this.text(value)}`;
    });
    this.caption.textContent = `${timeOfDay(this.times[index])}: ${told.join(", ")}`;
  }

  resize() {
    const width = this.plot.clientWidth;
    if (width && width !== this.uplot.width) this.uplot.setSize({ width, height: HEIGHT_PX });
  }

  draw() {
    this.uplot?.destroy();
    const axis = {
      stroke: colour("--quiet"),
      font: `12px ${getComputedStyle(this.plot).fontFamily}`,
      grid: { stroke: colour("--line"), width: 1 },
      ticks: { show: false },
    };
    const lines = this.names.map((name, series) => ({
      label: name,
      stroke: colour(`--series-${series + 1}`),
      fill: series === 0 ? colour("--series-1-fill") : undefined,
      width: 2,
      dash: series === 0 ? undefined : [5, 4], // over the first line, which it mostly follows
      points: { show: false },
      spanGaps: false,
    }));
    const options = {
      width: this.plot.clientWidth || 300,
      height: HEIGHT_PX,
      legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false } },
      scales: {
        x: { time: true, range: (_, least, most) => [Math.min(least ?? 0, (most ?? 0) - WINDOW_MIN_S), most ?? 0] },
        y: { range: (_, least, most) => [0, Math.max(1, most ?? 1) * 1.1] },
      },
      axes: [
        { ...axis, grid: { show: false }, size: 30, space: 90, values: (_, times) => times.map(timeOfDay), incrs: [15, 30, 60, 120, 300] },
        { ...axis, size: 54, space: 36, values: (_, values) => values.map((value) => (Number.isInteger(value) ? this.text(value) : "")) },
      ],
      series: [{}, ...lines],
      hooks: { setCursor: [(uplot) => this.read(uplot.cursor.idx)] },
    };
    this.uplot = new uPlot(options, [this.times, ...this.values], this.plot);
  }
}
