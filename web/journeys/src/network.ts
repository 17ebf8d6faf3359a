// What a browser's network lets through, and what the browser itself has: a page
// whose workers send their WebTransport another way, or have none. For browsers in
// a real network of their own none of this is needed.
import type { TransportName } from "@darktower/session";
import { stats } from "./diagnostics.ts";
import type { Driver, Participant } from "./participant.ts";
import { join, openLobby } from "./steps.ts";

/** How WebTransport is changed in a page and its workers, before they do anything. */
type Change =
  | { readonly what: "redirect"; readonly from: string; readonly to: string }
  /** As in a browser that does not have it. */
  | { readonly what: "remove" }
  /** As in one whose sessions open and whose streams carry nothing. */
  | { readonly what: "stall" };

/** Has all WebTransport of a page to port `from` go to port `to`. */
export function redirectUdp(driver: Driver, from: number, to: number): Promise<void> {
  const change: Change = { what: "redirect", from: String(from), to: String(to) };
  return driver.onNewDocument(changeWorkers, change);
}

export function removeWebTransport(driver: Driver): Promise<void> {
  const change: Change = { what: "remove" };
  return driver.onNewDocument(changeWorkers, change);
}

export function stallWebTransport(driver: Driver): Promise<void> {
  const change: Change = { what: "stall" };
  return driver.onNewDocument(changeWorkers, change);
}

/** Runs in the page, before its own scripts, and says all that it needs itself. */
function changeWorkers(change: Change): void {
  const changeHere = (wanted: Change): void => {
    const scope = globalThis as unknown as Record<string, unknown>;
    const Real = scope["WebTransport"] as typeof WebTransport | undefined;
    if (wanted.what === "remove" || Real === undefined) {
      delete scope["WebTransport"];
    } else if (wanted.what === "redirect") {
      scope["WebTransport"] = function (url: string, options: WebTransportOptions) {
        const there = new URL(url);
        if (there.port === wanted.from) there.port = wanted.to;
        return new Real(there.href, options);
      };
    } else {
      const stream = () => ({ readable: new ReadableStream(), writable: new WritableStream() });
      scope["WebTransport"] = class {
        ready = Promise.resolve();
        closed = new Promise(() => undefined);
        datagrams = { ...stream(), maxDatagramSize: 1000 };
        incomingUnidirectionalStreams = new ReadableStream();
        createBidirectionalStream = () => Promise.resolve(stream());
        createUnidirectionalStream = () => Promise.resolve(new WritableStream());
        close = () => undefined;
      };
    }
  };
  const RealWorker = globalThis.Worker;
  globalThis.Worker = class extends RealWorker {
    constructor(script: string | URL, options?: WorkerOptions) {
      const real = new URL(script, location.href).href;
      const code = [
        `import ${JSON.stringify(real)};`,
        // What is asked of a worker waits until all of this has run.
        `(${changeHere.toString()})(${JSON.stringify(change)});`,
      ];
      super(URL.createObjectURL(new Blob(code, { type: "text/javascript" })), options);
    }
  };
  changeHere(change);
}

/** What carries this person's signaling and media, once both are there. */
export function carriers(
  person: Participant,
): Promise<{ signaling: TransportName; media: TransportName }> {
  return person.until("carriers of signaling and media", async () => {
    const { signalingTransport, mediaTransport } = await stats(person);
    if (signalingTransport === null || mediaTransport === null) return undefined;
    return { signaling: signalingTransport.carrier, media: mediaTransport.carrier };
  });
}

/** Waits until both are carried by this one. */
export async function carriedBy(person: Participant, carrier: TransportName): Promise<void> {
  await person.until(`signaling and media by ${carrier}`, async () => {
    const { signaling, media } = await carriers(person);
    return signaling === carrier && media === carrier;
  });
}

/**
 * Joins once a session with each server is open by WebTransport: on a machine that
 * is busy with browsers it may lose the race to the WebSocket, as it is meant to.
 */
export async function enterByWebTransport(person: Participant, link: string): Promise<void> {
  await openLobby(person, link);
  await carriedBy(person, "webtransport");
  await join(person);
  await carriedBy(person, "webtransport");
}

/** What the statistics panel says, opened and closed again. */
export async function statisticsShown(person: Participant): Promise<string> {
  await person.click("more");
  await person.shown("statistics");
  await person.click("statistics");
  await person.shown("statistics-panel");
  const shown = await person.until("figures", async () => {
    const text = await person.text("statistics-panel");
    return text.includes("Signaling by") && text;
  });
  await person.driver.press("Escape");
  return shown;
}

/** How long media of others stayed away at most, in milliseconds, since it was asked for. */
export interface Gaps {
  readonly video: number;
  readonly audio: number;
}

interface Watch {
  gaps: Record<"video" | "audio", number>;
  stop: () => void;
}

/** Begins to watch for gaps; the function it returns says the longest ones. */
export async function watchGaps(person: Participant): Promise<() => Promise<Gaps>> {
  await person.evaluate(() => {
    interface Counts {
      readonly video: readonly { readonly drawn: number }[];
      readonly audio: readonly { readonly packets: number }[];
    }
    const scope = globalThis as unknown as {
      darkTower: { meeting: { stats(): Promise<Counts> } };
      gapWatch: Watch;
    };
    const seen = { video: { count: -1, at: 0 }, audio: { count: -1, at: 0 } };
    const watch: Watch = { gaps: { video: 0, audio: 0 }, stop: () => undefined };
    const look = async (): Promise<void> => {
      const { video, audio } = await scope.darkTower.meeting.stats();
      const now = performance.now();
      const counts = {
        video: video.reduce((sum, one) => sum + one.drawn, 0),
        audio: audio.reduce((sum, one) => sum + one.packets, 0),
      };
      for (const kind of ["video", "audio"] as const) {
        const before = seen[kind];
        if (before.count >= 0) watch.gaps[kind] = Math.max(watch.gaps[kind], now - before.at);
        if (counts[kind] !== before.count) seen[kind] = { count: counts[kind], at: now };
      }
    };
    const timer = setInterval(() => {
      look().catch(() => undefined);
    }, 25);
    watch.stop = () => {
      clearInterval(timer);
    };
    scope.gapWatch = watch;
  }, null);
  return () =>
    person.evaluate(() => {
      const { gapWatch } = globalThis as unknown as { gapWatch: Watch };
      gapWatch.stop();
      return { video: Math.round(gapWatch.gaps.video), audio: Math.round(gapWatch.gaps.audio) };
    }, null);
}
