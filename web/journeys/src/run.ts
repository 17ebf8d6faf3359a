// Runs the journeys, one file after the other, and closes with one line that
// counts them. Arguments choose files by a part of their name, and JOURNEY in
// the environment journeys by a pattern; the file that renews the README's
// picture runs only when it is asked for.
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { run } from "node:test";
import { spec } from "node:test/reporters";

const here = import.meta.dirname;
const wanted = process.argv.slice(2);
const files = (await readdir(here))
  .filter((file) => file.endsWith(".journey.ts"))
  .filter((file) =>
    wanted.length === 0
      ? !file.startsWith("screenshot")
      : wanted.some((part) => file.includes(part)),
  )
  .sort();
if (files.length === 0) {
  console.error(`no journey is called like ${wanted.join(", ")}`);
  process.exit(2);
}

let passed = 0;
let failed = 0;
const started = Date.now();
const pattern = process.env["JOURNEY"];
const events = run({
  files: files.map((file) => join(here, file)),
  concurrency: 1,
  ...(pattern ? { testNamePatterns: [new RegExp(pattern)] } : {}),
});
// A file that can't be loaded fails as one test, so nothing goes missing.
events.on("test:pass", (event) => {
  if (event.details.type !== "suite") passed += 1;
});
events.on("test:fail", (event) => {
  if (event.details.type !== "suite") failed += 1;
});
// The stream is typed without its elements; what matters is that it can be piped.
const report: Readable = events.compose(new spec()) as Readable;
report.pipe(process.stdout);
events.on("end", () => {
  process.on("exit", () => {
    const seconds = ((Date.now() - started) / 1000).toFixed(0);
    console.log(
      `journeys: ${passed} passed, ${failed} failed, ${files.length} files, ${seconds} s`,
    );
  });
  process.exitCode = failed > 0 || passed === 0 ? 1 : 0;
});
