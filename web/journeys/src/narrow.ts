// A person whose network is narrow: a network namespace of its own behind the wire
// that scripts/isolated.sh laid, at whose near end the kernel's token bucket says
// how much goes through.
import { execFile, spawn, type ChildProcess } from "node:child_process";
import { readlink } from "node:fs/promises";
import { promisify } from "node:util";
import { until } from "./waiting.ts";

const run = promisify(execFile);

/** The near end, and the far one. */
const NEAR = "wire0";
const FAR = "wire1";
/** The address of the near end, as scripts/isolated.sh gives it. */
export const NEAR_HOST = "198.51.100.1";
const FAR_ADDRESS = "198.51.100.2/24";
/** What goes at once, and what the bottleneck's queue holds. */
const BURST_BYTES = 3000;
const QUEUE_BYTES = 40_000;
const LOOK_EVERY_MS = 40;

/** The firewall's table that loses packets. */
const LOSS = "darktower-loss";

/** What went over a wire, with all headers. */
export interface Carried {
  readonly packets: number;
  readonly bytes: number;
}

interface Qdisc {
  readonly kind: string;
  readonly backlog?: number;
}

export class NarrowNetwork {
  readonly #holder: ChildProcess;
  #looks: NodeJS.Timeout | undefined;
  /** Longest queue of a squeeze, in bytes. */
  #queueMax = 0;

  private constructor(holder: ChildProcess) {
    this.#holder = holder;
  }

  static async open(): Promise<NarrowNetwork> {
    // Lives as long as its input is open: as long as this program at most.
    const holder = spawn("unshare", ["--net", "cat"], { stdio: ["pipe", "ignore", "inherit"] });
    const network = new NarrowNetwork(holder);
    try {
      const own = await readlink("/proc/self/ns/net");
      await until(
        "a network namespace",
        async () => (await readlink(`/proc/${holder.pid}/ns/net`)) !== own,
        5000,
      );
      await run("ip", ["link", "set", FAR, "netns", String(holder.pid)]);
      for (const command of [
        ["ip", "link", "set", "lo", "up"],
        ["ip", "address", "add", FAR_ADDRESS, "dev", FAR],
        ["ip", "link", "set", FAR, "up"],
      ]) {
        const [program = "", ...args] = [...network.launcher, ...command];
        await run(program, args);
      }
      return network;
    } catch (error) {
      await network.close();
      throw error;
    }
  }

  /** What a command begins with to run behind the wire. */
  get launcher(): readonly string[] {
    return ["nsenter", "--target", String(this.#holder.pid), "--net", "--"];
  }

  /** From here on no more than this goes through. */
  async squeeze(kbps: number): Promise<void> {
    await run("tc", [
      ...["qdisc", "add", "dev", NEAR, "root", "tbf", "rate", `${kbps}kbit`],
      ...["burst", String(BURST_BYTES), "limit", String(QUEUE_BYTES)],
    ]);
    this.#queueMax = 0;
    this.#looks = setInterval(() => {
      void this.#look();
    }, LOOK_EVERY_MS);
  }

  async #look(): Promise<void> {
    try {
      const { stdout } = await run("tc", ["-s", "-j", "qdisc", "show", "dev", NEAR]);
      const bucket = (JSON.parse(stdout) as Qdisc[]).find((one) => one.kind === "tbf");
      this.#queueMax = Math.max(this.#queueMax, bucket?.backlog ?? 0);
    } catch {
      // It was released meanwhile.
    }
  }

  /** Everything goes through again; the longest queue there was, in bytes. */
  async release(): Promise<number> {
    clearInterval(this.#looks);
    await run("tc", ["qdisc", "del", "dev", NEAR, "root"]);
    return this.#queueMax;
  }

  /** From here on so many of a hundred packets of UDP vanish on either way, by chance. */
  async lose(percent: number): Promise<void> {
    // Where they arrive: who sends them learns nothing of it.
    for (const [launcher, wire] of [
      [[], NEAR],
      [this.launcher, FAR],
    ] as const) {
      const nft = async (...args: string[]) => {
        const [program = "", ...rest] = [...launcher, "nft", ...args];
        await run(program, rest);
      };
      await nft("add", "table", "inet", LOSS);
      await nft("delete", "table", "inet", LOSS);
      if (percent === 0) continue;
      await nft("add", "table", "inet", LOSS);
      const hook = "{ type filter hook input priority 0 ; }";
      await nft("add", "chain", "inet", LOSS, "input", hook);
      const chance = ["numgen", "random", "mod", "1000", "<", String(percent * 10)];
      const rule = ["iifname", wire, "meta", "l4proto", "udp", ...chance, "drop"];
      await nft("add", "rule", "inet", LOSS, "input", ...rule);
    }
  }

  /** What the near end has sent to the far one, and received from it. */
  async carried(): Promise<{ readonly sent: Carried; readonly received: Carried }> {
    const { stdout } = await run("ip", ["-s", "-j", "link", "show", "dev", NEAR]);
    const [link] = JSON.parse(stdout) as { stats64: { tx: Carried; rx: Carried } }[];
    if (link === undefined) throw new Error(`no figures of ${NEAR}`);
    return { sent: link.stats64.tx, received: link.stats64.rx };
  }

  async close(): Promise<void> {
    clearInterval(this.#looks);
    const ended = new Promise<void>((resolve) => {
      if (this.#holder.exitCode !== null) resolve();
      this.#holder.once("close", () => {
        resolve();
      });
    });
    // The wire would go with the namespace, and there is only one.
    const [program = "", ...args] = this.launcher;
    const back = ["ip", "link", "set", FAR, "netns", String(process.pid)];
    await run(program, [...args, ...back]).catch(() => undefined);
    this.#holder.stdin?.end();
    await ended;
  }
}
