// One journey: a server of its own, people who come and go, and a report with
// everything one needs when it fails.
import { mkdir, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import type { Browser } from "playwright-core";
import { cableOf } from "./cable.ts";
import { ChromiumDriver, launchChromium, type PageOptions } from "./chromium.ts";
import { stats } from "./diagnostics.ts";
import { FirefoxDriver } from "./firefox.ts";
import { allowAll, noFirewall } from "./firewall.ts";
import { Participant, type Driver } from "./participant.ts";
import { redirectUdp } from "./network.ts";
import { Relay } from "./relay.ts";
import { Server } from "./server.ts";
import { within } from "./waiting.ts";

/** A journey that takes longer hangs. */
const JOURNEY_MS = 180_000;
/** Closing a page or taking a picture of it. */
const CLEANUP_MS = 15_000;
const LOG_TAIL_LINES = 200;

function reportFolder(title: string): string {
  const target =
    process.env["CARGO_TARGET_DIR"] ?? join(homedir(), ".cache", "darktower", "target");
  return join(target, "journeys", title.replace(/[^a-z0-9]+/gi, "-").toLowerCase());
}

// One browser for all people of a file who use Chromium: contexts are apart,
// and two cores are not many.
let chromium: Promise<Browser> | undefined;

after(async () => {
  const browser = chromium;
  chromium = undefined;
  await (await browser)?.close();
});

export class Scene {
  readonly server: Server;
  /** Where pictures of it are kept. */
  readonly folder: string;
  readonly #people: Participant[] = [];
  readonly #relays: Relay[] = [];

  constructor(server: Server, folder: string) {
    this.server = server;
    this.folder = folder;
  }

  /** Keeps a picture of what a person sees, to be looked at whether it passes or not. */
  async keep(person: Participant, what: string): Promise<void> {
    await mkdir(this.folder, { recursive: true });
    await person.driver.screenshot(join(this.folder, `${what}-${person.name}.png`));
  }

  async chromium(name: string, options: PageOptions = {}): Promise<Participant> {
    chromium ??= launchChromium();
    return this.#enter(name, await ChromiumDriver.open(await chromium, options));
  }

  /** Somebody whose way to the server's signaling can be cut. */
  async wired(name: string): Promise<{ person: Participant; cable: Relay }> {
    chromium ??= launchChromium();
    const driver = await ChromiumDriver.open(await chromium, {});
    const cable = await cableOf(driver.page, this.server.udpPort);
    this.#relays.push(cable);
    return { person: this.#enter(name, driver), cable };
  }

  /** A relay through which all UDP of a person goes from here on. */
  async relay(person: Participant): Promise<Relay> {
    const relay = await Relay.before(this.server.udpPort);
    this.#relays.push(relay);
    await redirectUdp(person.driver, this.server.udpPort, relay.port);
    return relay;
  }

  async firefox(name: string): Promise<Participant> {
    return this.#enter(name, await FirefoxDriver.open());
  }

  #enter(name: string, driver: Driver): Participant {
    const person = new Participant(name, driver);
    this.#people.push(person);
    return person;
  }

  /** Everything there is to see, in files. */
  async report(): Promise<void> {
    const { folder } = this;
    await mkdir(folder, { recursive: true });
    await writeFile(
      join(folder, "server.log"),
      this.server.log.slice(-LOG_TAIL_LINES).join("\n") + "\n",
    );
    for (const person of this.#people) {
      const file = join(folder, `${person.name}-${person.driver.browser}`);
      const figures = await stats(person).catch((error: unknown) => String(error));
      await writeFile(`${file}.stats.json`, JSON.stringify(figures, undefined, 2) + "\n");
      await writeFile(`${file}.console.log`, person.driver.console.join("\n") + "\n");
      const shot = person.driver.screenshot(`${file}.png`);
      await within("a screenshot", CLEANUP_MS, shot).catch((error: unknown) =>
        writeFile(`${file}.png.error`, String(error)),
      );
    }
  }

  async close(): Promise<void> {
    const closing = this.#people.map((person) =>
      within(`closing ${person.name}`, CLEANUP_MS, person.close()),
    );
    await Promise.allSettled(closing);
    for (const relay of this.#relays) relay.close();
    await this.server.stop();
  }
}

export interface JourneyOptions {
  /** For `darktower up`. */
  readonly serverArgs?: readonly string[];
  /** It puts up a firewall: left out, with the reason, where there can be none. */
  readonly firewall?: boolean;
}

/** Registers a journey. */
export function journey(
  title: string,
  run: (scene: Scene) => Promise<void>,
  { serverArgs = [], firewall = false }: JourneyOptions = {},
): void {
  const skip = (firewall && noFirewall) || false;
  void test(title, { timeout: JOURNEY_MS, skip }, async () => {
    const scene = new Scene(await Server.start(serverArgs), reportFolder(title));
    try {
      await run(scene);
    } catch (error) {
      await scene.report();
      console.error(`what was seen is in ${scene.folder}`);
      throw error;
    } finally {
      if (firewall) await allowAll();
      await scene.close();
    }
  });
}
