// How `make bench` shows its figures: a table that states the machine, the
// profile and the settings.
import { cpus, totalmem } from "node:os";

/** One line of a table, by column. */
export interface Row {
  readonly [column: string]: string | number;
}

export function percentile(values: readonly number[], percent: number): number {
  if (values.length === 0) return Number.NaN;
  const sorted = [...values].sort((a, b) => a - b);
  const rank = Math.ceil((percent / 100) * sorted.length) - 1;
  return sorted[Math.max(0, rank)] ?? Number.NaN;
}

/** What figures are worth nothing without. */
export function heading(title: string, settings: string): void {
  const profile = process.env["DARKTOWER_PROFILE"] ?? "unknown";
  const model = cpus()[0]?.model.trim() ?? "unknown";
  const memory = (totalmem() / 2 ** 30).toFixed(0);
  console.log(`\n${title}`);
  console.log(`  machine: ${cpus().length} cores (${model}), ${memory} GiB; profile: ${profile}`);
  console.log(`  settings: ${settings}`);
}

export function table(title: string, settings: string, rows: readonly Row[]): void {
  heading(title, settings);
  const columns = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  const cells = [columns, ...rows.map((row) => columns.map((column) => String(row[column] ?? "")))];
  const widths = columns.map((_, at) => Math.max(...cells.map((line) => line[at]?.length ?? 0)));
  for (const line of cells) {
    console.log(
      "  " +
        line
          .map((cell, at) => cell.padEnd(widths[at] ?? 0))
          .join("  ")
          .trimEnd(),
    );
  }
}
