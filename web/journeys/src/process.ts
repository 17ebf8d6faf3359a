// Child processes of the journeys: `darktower` in its roles, their lines as
// they come, and an end that is awaited.
import { spawn, type ChildProcess } from "node:child_process";
import { createInterface } from "node:readline";
import { until } from "./waiting.ts";

/** How many lines of a process are kept for a report. */
const LOG_LINES_MAX = 2000;

/** The binary under test; the scripts set it. */
export function binary(): string {
  const path = process.env["DARKTOWER_BIN"];
  if (!path) throw new Error("DARKTOWER_BIN must name the binary; `make journeys` sets it");
  return path;
}

export type Json = Record<string, unknown>;

function parseLine(line: string): Json | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === "object" && value !== null ? (value as Json) : undefined;
  } catch {
    return undefined;
  }
}

export class Program {
  readonly log: string[] = [];
  readonly #child: ChildProcess;
  readonly #ended: Promise<number>;
  #events: { readonly json: Json; readonly at: number }[] = [];
  #exit: number | undefined;

  /** `launcher`: a command that runs the rest of its arguments. */
  constructor(
    args: readonly string[],
    env: Record<string, string> = {},
    launcher: readonly string[] = [],
  ) {
    const [program = binary(), ...rest] = [...launcher, binary(), ...args];
    this.#child = spawn(program, rest, {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, ...env },
    });
    for (const output of [this.#child.stdout, this.#child.stderr]) {
      if (!output) continue;
      createInterface({ input: output }).on("line", (line) => {
        this.log.push(line);
        if (this.log.length > LOG_LINES_MAX) this.log.shift();
        if (output === this.#child.stdout) {
          const event = parseLine(line);
          if (event) this.#events.push({ json: event, at: Date.now() });
        }
      });
    }
    this.#ended = new Promise((resolve, reject) => {
      this.#child.on("error", reject);
      this.#child.on("close", (code, signal) => {
        this.#exit = code ?? (signal ? 128 : 0);
        resolve(this.#exit);
      });
    });
    // The end is awaited by who owns the process; until then it is no error.
    this.#ended.catch(() => undefined);
  }

  get pid(): number {
    if (this.#child.pid === undefined) throw new Error("the process did not start");
    return this.#child.pid;
  }

  /** The event of this name on its standard output. */
  event(name: string, ms: number): Promise<Json> {
    return until(
      `the event "${name}"`,
      async () => {
        const found = this.events(name)[0]?.json;
        if (!found && this.#exit !== undefined) {
          throw new Error(`ended with status ${this.#exit}:\n${this.log.slice(-20).join("\n")}`);
        }
        return Promise.resolve(found);
      },
      ms,
    );
  }

  /** All events of this name so far, and when each came. */
  events(name: string): readonly { readonly json: Json; readonly at: number }[] {
    return this.#events.filter(({ json }) => json["event"] === name);
  }

  /** Its exit status. */
  ended(): Promise<number> {
    return this.#ended;
  }

  /** Asks it to end, and makes it end if it does not. */
  async stop(ms = 10_000): Promise<void> {
    if (this.#exit !== undefined) return;
    this.#child.kill("SIGTERM");
    const force = setTimeout(() => this.#child.kill("SIGKILL"), ms);
    try {
      await this.#ended;
    } finally {
      clearTimeout(force);
    }
  }
}
