// A real `darktower up` on free ports with a data folder of its own, and the
// bots that are sent to it.
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Program, type Json } from "./process.ts";

/** From start to ready on a busy machine. */
const READY_MS = 30_000;

function text(json: Json, field: string): string {
  const value = json[field];
  if (typeof value !== "string") throw new Error(`no ${field} in ${JSON.stringify(json)}`);
  return value;
}

export interface CreatedMeeting {
  readonly id: string;
  readonly code: string;
  readonly url: string;
  readonly hostToken: string;
}

export class Server {
  readonly webUrl: string;
  readonly apiUrl: string;
  readonly readyMs: number;
  /** Where browsers dial it by WebTransport. */
  readonly udpPort: number;
  readonly #program: Program;
  readonly #data: string;
  readonly #bots: Program[] = [];

  private constructor(program: Program, ready: Json, data: string) {
    this.#program = program;
    this.#data = data;
    this.webUrl = text(ready, "web_url").replace(/\/$/, "");
    this.apiUrl = text(ready, "api_url");
    this.udpPort = Number(new URL(text(ready, "webtransport_url")).port);
    this.readyMs = Number(ready["elapsed_ms"]);
  }

  static async start(args: readonly string[] = [], host = "127.0.0.1"): Promise<Server> {
    const data = await mkdtemp(join(tmpdir(), "darktower-journey-"));
    const ports = ["--http", `${host}:0`, "--public", `${host}:0`];
    const program = new Program(["up", "--json", ...ports, "--data", data, ...args]);
    try {
      return new Server(program, await program.event("ready", READY_MS), data);
    } catch (error) {
      await program.stop();
      await rm(data, { recursive: true, force: true });
      throw error;
    }
  }

  get log(): readonly string[] {
    return this.#program.log;
  }

  /** A meeting made by the API, for journeys that are not about making one. */
  async createMeeting(body: Json = {}): Promise<CreatedMeeting> {
    const response = await fetch(`${this.apiUrl}/meetings`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    });
    const answer = (await response.json()) as Json;
    if (!response.ok) throw new Error(`create: ${response.status} ${JSON.stringify(answer)}`);
    const code = text(answer, "meeting_code");
    return {
      id: text(answer, "meeting_id"),
      code,
      url: `${this.webUrl}/m/${code}`,
      hostToken: text(answer, "host_token"),
    };
  }

  async endMeeting(meeting: CreatedMeeting): Promise<void> {
    const response = await fetch(`${this.apiUrl}/meetings/${meeting.id}`, {
      method: "DELETE",
      headers: { authorization: `Bearer ${meeting.hostToken}` },
    });
    if (!response.ok) throw new Error(`end: ${response.status}`);
  }

  /** `darktower bot` into a meeting of this server. */
  bot(
    link: string,
    name: string,
    seconds: number,
    args: readonly string[] = [],
    launcher: readonly string[] = [],
  ): Program {
    const stay = ["bot", "--join", link, "--name", name, "--duration", `${seconds}s`, "--json"];
    const bot = new Program([...stay, ...args], {}, launcher);
    this.#bots.push(bot);
    return bot;
  }

  /** Resident memory in MiB and CPU seconds used so far. */
  async usage(): Promise<{ residentMib: number; cpuSeconds: number }> {
    // The kernel counts CPU time in hundredths of a second.
    const ticksPerSecond = 100;
    const status = await readFile(`/proc/${this.#program.pid}/status`, "utf8");
    const stat = await readFile(`/proc/${this.#program.pid}/stat`, "utf8");
    // Fields follow the command in parentheses: utime and stime are 14 and 15.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return {
      residentMib: Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) / 1024,
      cpuSeconds: (Number(fields[11]) + Number(fields[12])) / ticksPerSecond,
    };
  }

  async stop(): Promise<void> {
    await Promise.all(this.#bots.map((bot) => bot.stop()));
    await this.#program.stop();
    await rm(this.#data, { recursive: true, force: true });
  }
}
