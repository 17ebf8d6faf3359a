// Two kinds of plot as SVG, plain enough to be read on light and dark pages.

const WIDTH = 720;
const HEIGHT = 360;
const LEFT = 64;
const RIGHT = 24;
const TOP = 64;
const BOTTOM = 56;
const COLOURS = ["#3b82f6", "#94a3b8", "#f59e0b"];
const INK = "#64748b";
const GOAL = "#dc2626";

export interface Bars {
  readonly title: string;
  readonly unit: string;
  readonly goal?: number | undefined;
  readonly groups: readonly {
    readonly label: string;
    readonly bars: readonly { readonly series: string; readonly value: number }[];
  }[];
}

export interface Lines {
  readonly title: string;
  readonly unit: string;
  readonly across: string;
  readonly lines: readonly {
    readonly series: string;
    readonly points: readonly { readonly x: number; readonly y: number }[];
  }[];
}

function escaped(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll('"', "&quot;");
}

function text(x: number, y: number, words: string, anchor = "middle", size = 12): string {
  return `<text x="${round(x)}" y="${round(y)}" text-anchor="${anchor}" font-size="${size}">${escaped(words)}</text>`;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}

/** The least of 1, 2 and 5 times a power of ten by which five steps reach it. */
function step(most: number): number {
  const rough = Math.max(most, Number.EPSILON) / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const factor = [1, 2, 5, 10].find((factor) => factor * power >= rough) ?? 10;
  return factor * power;
}

function colour(index: number): string {
  return COLOURS[index % COLOURS.length] ?? INK;
}

/** Title, unit, legend and the horizontal lines, around what is drawn in it. */
function frame(
  head: { readonly title: string; readonly unit: string },
  series: readonly string[],
  most: number,
  draw: (y: (value: number) => number) => string[],
): string {
  const by = step(most);
  const top = Math.ceil((most * 1.05) / by) * by;
  const y = (value: number) => HEIGHT - BOTTOM - (value / top) * (HEIGHT - TOP - BOTTOM);
  const parts = [text(LEFT, 24, head.title, "start", 16), text(LEFT, 44, head.unit, "start")];
  for (let at = 0; at <= Math.round(top / by); at += 1) {
    const value = at * by;
    const line = `<line x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${round(y(value))}" y2="${round(y(value))}" stroke="${INK}" stroke-opacity="${at === 0 ? 1 : 0.25}"/>`;
    parts.push(line, text(LEFT - 8, y(value) + 4, String(Number(value.toPrecision(6))), "end"));
  }
  if (series.length > 1) {
    series.forEach((name, index) => {
      const x = WIDTH - RIGHT - 130 * (series.length - index);
      parts.push(
        `<rect x="${x}" y="34" width="12" height="12" fill="${colour(index)}"/>`,
        text(x + 18, 44, name, "start"),
      );
    });
  }
  parts.push(...draw(y));
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${escaped(`${head.title}: ${head.unit}`)}" font-family="system-ui, sans-serif" fill="${INK}">`,
    ...parts.map((part) => `  ${part}`),
    "</svg>",
    "",
  ].join("\n");
}

export function barChart(chart: Bars): string {
  const series = [...new Set(chart.groups.flatMap((group) => group.bars.map((bar) => bar.series)))];
  const values = chart.groups.flatMap((group) => group.bars.map((bar) => bar.value));
  const most = Math.max(...values, chart.goal ?? 0);
  const goal = chart.goal === undefined ? "" : ` (dashed: the goal, at most ${chart.goal})`;
  const head = { title: chart.title, unit: chart.unit + goal };
  return frame(head, series, most, (y) => {
    const parts: string[] = [];
    const room = (WIDTH - LEFT - RIGHT) / chart.groups.length;
    chart.groups.forEach((group, at) => {
      const middle = LEFT + room * (at + 0.5);
      const width = Math.min(56, (room * 0.7) / series.length);
      for (const bar of group.bars) {
        const index = series.indexOf(bar.series);
        const x = middle + (index - series.length / 2) * width;
        const height = y(0) - y(bar.value);
        parts.push(
          `<rect x="${round(x + 1)}" y="${round(y(bar.value))}" width="${round(width - 2)}" height="${round(height)}" fill="${colour(index)}"/>`,
          text(x + width / 2, y(bar.value) - 5, bar.value.toFixed(2)),
        );
      }
      parts.push(text(middle, HEIGHT - BOTTOM + 20, group.label));
    });
    if (chart.goal !== undefined) {
      const at = round(y(chart.goal));
      parts.push(
        `<line x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${at}" y2="${at}" stroke="${GOAL}" stroke-dasharray="6 4"/>`,
      );
    }
    return parts;
  });
}

export function lineChart(chart: Lines): string {
  const series = chart.lines.map((line) => line.series);
  const points = chart.lines.flatMap((line) => line.points);
  const widest = Math.max(...points.map((point) => point.x));
  const x = (value: number) => LEFT + (value / widest) * (WIDTH - LEFT - RIGHT - 16);
  return frame(chart, series, Math.max(...points.map((point) => point.y)), (y) => {
    const parts: string[] = [];
    chart.lines.forEach((line, index) => {
      const path = line.points.map((point) => `${round(x(point.x))},${round(y(point.y))}`);
      parts.push(
        `<polyline points="${path.join(" ")}" fill="none" stroke="${colour(index)}" stroke-width="2"/>`,
      );
      for (const point of line.points) {
        parts.push(
          `<circle cx="${round(x(point.x))}" cy="${round(y(point.y))}" r="3.5" fill="${colour(index)}"/>`,
          text(x(point.x), y(point.y) - 9, point.y.toFixed(1)),
        );
      }
    });
    for (const value of new Set(points.map((point) => point.x))) {
      parts.push(text(x(value), HEIGHT - BOTTOM + 20, String(value)));
    }
    parts.push(text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 12, chart.across));
    return parts;
  });
}
