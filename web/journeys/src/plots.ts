// Draws the figures that `make bench ARGS=forward` records (one object of JSON a
// line, in the file that FIGURES names) as SVG files:
//   npm --prefix web run plots -- FILE FOLDER
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { barChart, lineChart } from "./plots_svg.ts";
import { parseRecords, type Measured } from "./plots_records.ts";

/** The last record of each line of a part: a file may hold several runs. */
function latest(records: readonly Measured[], part: string): Measured[] {
  const byLine = new Map<string, Measured>();
  for (const record of records) {
    if (record.part === part) byLine.set(`${record.receivers} ${record.offered}`, record);
  }
  return [...byLine.values()];
}

function ratios(records: readonly Measured[], part: string, title: string): string | undefined {
  const measured = latest(records, part).filter((record) => record.ratio !== undefined);
  if (measured.length === 0) return undefined;
  return barChart({
    title,
    unit: "CPU a packet, times the raw sender's",
    goal: measured.find((record) => record.goal !== undefined)?.goal,
    groups: measured.map((record) => ({
      label: `${(record.offered ?? 0) / 1000}k/s to ${record.receivers}`,
      bars: [{ series: "media handler", value: record.ratio ?? 0 }],
    })),
  });
}

function peers(records: readonly Measured[]): string | undefined {
  const measured = latest(records, "peers");
  if (measured.length === 0) return undefined;
  return barChart({
    title: "One picture of 1.5 Mbit/s on streams",
    unit: "CPU seconds a delivered GB",
    goal: measured.find((record) => record.goal !== undefined)?.goal,
    groups: measured.map((record) => ({
      label: `${record.receivers} receivers`,
      bars: [
        { series: "media handler", value: record.handler.cpuSecondsAGb },
        { series: "raw sender", value: record.raw?.cpuSecondsAGb ?? 0 },
      ],
    })),
  });
}

function byReceivers(records: readonly Measured[]): string | undefined {
  const measured = latest(records, "receivers");
  if (measured.length === 0) return undefined;
  const points = (value: (record: Measured) => number) =>
    measured.map((record) => ({ x: record.receivers ?? 0, y: value(record) }));
  return lineChart({
    title: "Cost by receivers, five sources in datagrams",
    unit: "percent of a core",
    across: "receivers",
    lines: [
      { series: "media handler", points: points((record) => record.handler.corePercent) },
      { series: "raw sender", points: points((record) => record.raw?.corePercent ?? 0) },
    ],
  });
}

const [file, folder] = process.argv.slice(2);
if (file === undefined || folder === undefined) {
  console.error("usage: plots FILE FOLDER");
  process.exit(2);
}
const records = parseRecords(readFileSync(file, "utf8"));
const plots: Record<string, string | undefined> = {
  "forward-datagrams": ratios(records, "datagrams", "Datagrams in bursts of six"),
  "forward-streams": ratios(records, "streams", "Streams, frames of 6250 bytes"),
  "forward-peers": peers(records),
  "forward-receivers": byReceivers(records),
};
mkdirSync(folder, { recursive: true });
for (const [name, plot] of Object.entries(plots)) {
  if (plot === undefined) {
    console.log(`${name}: not measured`);
    continue;
  }
  const path = join(folder, `${name}.svg`);
  writeFileSync(path, plot);
  console.log(path);
}
