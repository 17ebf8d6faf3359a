import type { TransportName } from "@darktower/session";
import { describe, expect, it } from "vitest";
import { forSeeds } from "../../protocol/test/random";
import { CarrierChoice, REMEMBERED_MS } from "../src/rules/carrier-choice";
import { HEAD_START_MS, Race, planRace, type Known, type RaceEffect } from "../src/rules/race";

const BOTH = ["webtransport", "websocket"] as const;
const fresh: Known = { offered: BOTH, preferred: undefined, webTransportFailed: false };

/** A race whose driver carries out nothing but time. */
class Track {
  readonly log: string[] = [];
  now = 0;
  readonly race: Race;

  constructor(known: Partial<Known> = {}, patient = false) {
    const plan = planRace({ ...fresh, ...known });
    if (plan === undefined) throw new Error("there is a way");
    this.race = new Race(plan, patient, 0);
    this.#note();
  }

  at(ms: number): this {
    for (;;) {
      const { due } = this.race;
      if (due === undefined || due > ms) break;
      this.now = Math.max(this.now, due);
      this.race.handleTimeout(this.now);
      this.#note();
    }
    this.now = ms;
    return this;
  }

  ready(carrier: TransportName): this {
    this.race.handleReady(carrier, this.now);
    return this.#note();
  }

  failed(carrier: TransportName): this {
    this.race.handleFailed(carrier, this.now);
    return this.#note();
  }

  hurry(): this {
    this.race.hurry(this.now);
    return this.#note();
  }

  prefer(carrier: TransportName): this {
    this.race.prefer(carrier, this.now);
    return this.#note();
  }

  #note(): this {
    for (const effect of this.race.takeEffects()) this.log.push(`${this.now} ${words(effect)}`);
    return this;
  }
}

function words(effect: RaceEffect): string {
  if (effect.type === "failed") return "failed";
  if (effect.type !== "won") return `${effect.type} ${effect.carrier}`;
  return [`won ${effect.carrier}`, ...effect.beaten].join(" before ");
}

describe("the race for a session", () => {
  it("is WebTransport's alone when that is quick", () => {
    expect(new Track().at(399).ready("webtransport").at(5000).log).toEqual([
      "0 dial webtransport",
      "399 won webtransport",
    ]);
  });

  it("has the WebSocket beside it after 400 ms, and the first that is ready wins", () => {
    expect(HEAD_START_MS).toBe(400);
    expect(new Track().at(450).ready("websocket").log).toEqual([
      "0 dial webtransport",
      "400 dial websocket",
      "450 won websocket before webtransport",
      "450 close webtransport",
    ]);
    expect(new Track().at(450).ready("webtransport").log.slice(2)).toEqual([
      "450 won webtransport before websocket",
      "450 close websocket",
    ]);
  });

  it("has the WebSocket at once when WebTransport failed", () => {
    expect(new Track().at(20).failed("webtransport").at(40).ready("websocket").log).toEqual([
      "0 dial webtransport",
      "20 dial websocket",
      "40 won websocket before webtransport",
    ]);
  });

  it("is the WebSocket's alone in a browser without WebTransport", () => {
    expect(new Track({ offered: ["websocket"] }).at(5).ready("websocket").log).toEqual([
      "0 dial websocket",
      "5 won websocket",
    ]);
    expect(planRace({ ...fresh, offered: [] })).toBeUndefined();
  });

  it("is lost when nobody is left, once", () => {
    const track = new Track().at(10).failed("webtransport").at(20).failed("websocket");
    expect(track.failed("websocket").ready("webtransport").at(900).log.slice(2)).toEqual([
      "20 failed",
    ]);
    expect(track.race.due).toBeUndefined();
  });

  it("after a carrier died begins with the other, and the former joins 400 ms later", () => {
    expect(new Track({ preferred: "websocket" }).at(401).log).toEqual([
      "0 dial websocket",
      "400 dial webtransport",
    ]);
  });

  it("where WebTransport is remembered as failing dials both, and favours it a moment", () => {
    const known = { webTransportFailed: true };
    expect(new Track(known).at(30).ready("websocket").at(300).log).toEqual([
      "0 dial webtransport",
      "0 dial websocket",
      "250 won websocket before webtransport",
      "250 close webtransport",
    ]);
    const back = new Track(known).at(30).ready("websocket").at(80).ready("webtransport");
    expect(back.log.slice(2)).toEqual(["80 won webtransport", "80 close websocket"]);
    // Within a meeting the memory is of no account: what served last goes first.
    expect(new Track({ ...known, preferred: "websocket" }).at(10).ready("websocket").log).toEqual([
      "0 dial websocket",
      "10 won websocket",
    ]);
  });

  it("ahead of a join gives WebTransport all the time until somebody waits", () => {
    const track = new Track({}, true).at(500).ready("websocket").at(3000);
    expect(track.log).toEqual(["0 dial webtransport", "400 dial websocket"]);
    expect(track.hurry().log.slice(2)).toEqual([
      "3000 won websocket before webtransport",
      "3000 close webtransport",
    ]);
    const late = new Track({}, true).at(500).ready("websocket").at(900).ready("webtransport");
    expect(late.log.slice(2)).toEqual(["900 won webtransport", "900 close websocket"]);
    const never = new Track({}, true).at(500).ready("websocket").at(900).failed("webtransport");
    expect(never.log.slice(2)).toEqual(["900 won websocket before webtransport"]);
  });

  it("forgets one that was open and broke before it was decided", () => {
    const track = new Track({}, true).at(500).ready("websocket").at(600).failed("websocket");
    expect(track.hurry().at(700).ready("webtransport").log.slice(2)).toEqual([
      "700 won webtransport before websocket",
    ]);
  });

  it("dials at once what others found to work here", () => {
    expect(new Track({}, true).at(100).prefer("websocket").at(130).ready("websocket").log).toEqual([
      "0 dial webtransport",
      "100 dial websocket",
      "130 won websocket before webtransport",
      "130 close webtransport",
    ]);
  });

  it("that is not wanted any more closes what is open", () => {
    const track = new Track().at(450);
    track.race.cancel();
    expect(track.ready("websocket").at(900).log.slice(2)).toEqual([
      "450 close webtransport",
      "450 close websocket",
    ]);
  });

  it("ends once, with one winner and all others closed, whatever happens", () => {
    forSeeds(500, (random) => {
      const pick = <T>(from: readonly T[]): T => from[random.below(from.length)] as T;
      const track = new Track(
        {
          preferred: pick([undefined, ...BOTH]),
          webTransportFailed: random.below(2) === 0,
        },
        random.below(2) === 0,
      );
      for (let i = 0; i < 12; i++) {
        track.at(track.now + random.below(300));
        const carrier = pick(BOTH);
        const dialled = track.log.some((line) => line.endsWith(`dial ${carrier}`));
        const step = random.below(4);
        if (step === 0 && dialled) track.ready(carrier);
        else if (step === 1 && dialled) track.failed(carrier);
        else if (step === 2) track.hurry();
        else if (random.below(4) === 0) track.prefer(carrier);
      }
      track.hurry().at(track.now + 1000);
      for (const carrier of BOTH) track.failed(carrier);
      const ends = track.log.filter((line) => / (won|failed)/.test(line));
      expect(ends).toHaveLength(1);
      const count = (what: string): number =>
        track.log.filter((line) => line.endsWith(what)).length;
      for (const carrier of BOTH) {
        expect(count(`dial ${carrier}`)).toBeLessThanOrEqual(1);
        expect(count(`close ${carrier}`)).toBeLessThanOrEqual(1);
      }
    });
  });
});

describe("the choice of a carrier", () => {
  const order = (choice: CarrierChoice, now = 0): string =>
    (choice.plan(true, now)?.entrants ?? []).map((e) => `${e.carrier} ${e.afterMs}`).join(", ");

  it("begins with the other one when a session died", () => {
    const choice = new CarrierChoice(true);
    expect(order(choice)).toBe("webtransport 0, websocket 400");
    choice.handleWorks("webtransport", [], 0);
    choice.handleLost("webtransport");
    expect(order(choice)).toBe("websocket 0, webtransport 400");
    // Not yet: nobody knows whether there is any network at all.
    expect(choice.failedAt).toBeUndefined();
    choice.handleWorks("websocket", [], 5000);
    expect(choice.failedAt).toBe(5000);
    expect(choice.reason("websocket")).toBe("blocked");
    expect(order(choice)).toBe("websocket 0, webtransport 400");
    choice.handleLost("websocket");
    expect(order(choice)).toBe("webtransport 0, websocket 400");
    choice.handleWorks("webtransport", [], 6000);
    expect(choice.failedAt).toBeUndefined();
    expect(choice.reason("webtransport")).toBeUndefined();
  });

  it("remembers for ten minutes, and tries WebTransport in a new meeting all the same", () => {
    const choice = new CarrierChoice(true);
    choice.handleWorks("websocket", ["webtransport"], 1000);
    const next = new CarrierChoice(true, choice.failedAt);
    expect(order(next, 1000 + REMEMBERED_MS - 1)).toBe("webtransport 0, websocket 0");
    expect(order(next, 1000 + REMEMBERED_MS)).toBe("webtransport 0, websocket 400");
    // The clock was set back.
    expect(order(next, 999)).toBe("webtransport 0, websocket 400");
    next.handleWorks("webtransport", ["websocket"], 2000);
    expect(next.failedAt).toBeUndefined();
  });

  it("does not blame UDP where the browser has no WebTransport", () => {
    const choice = new CarrierChoice(false);
    expect(order(choice)).toBe("websocket 0");
    choice.handleWorks("websocket", [], 0);
    expect(choice.reason("websocket")).toBe("unsupported");
    expect(choice.failedAt).toBeUndefined();
    expect(choice.plan(false, 0)).toBeUndefined();
  });

  it("of signaling is that of media to begin with, where it is the WebSocket", () => {
    const signaling = new CarrierChoice(true);
    expect(order(signaling.forAnother())).toBe("webtransport 0, websocket 400");
    signaling.handleWorks("websocket", ["webtransport"], 0);
    const media = signaling.forAnother();
    expect(order(media)).toBe("websocket 0, webtransport 400");
    media.handleWorks("websocket", [], 0);
    expect(media.reason("websocket")).toBe("blocked");
  });

  it("of a page that was in the meeting a moment ago is what served it then", () => {
    const reloaded = new CarrierChoice(true, 1000);
    reloaded.handleReturn(2000);
    expect(order(reloaded, 2000)).toBe("websocket 0, webtransport 400");
    const later = new CarrierChoice(true, 1000);
    later.handleReturn(1000 + REMEMBERED_MS);
    expect(order(later, 1000 + REMEMBERED_MS)).toBe("webtransport 0, websocket 400");
  });

  it("trusts no session for being open where one was and did not answer", () => {
    const choice = new CarrierChoice(true);
    choice.handleWorks("websocket", ["webtransport"], 0);
    expect(choice.isDoubtful("webtransport")).toBe(false);
    choice.handleLost("webtransport");
    choice.handleWorks("websocket", [], 0);
    expect(choice.isDoubtful("webtransport")).toBe(true);
    choice.handleWorks("webtransport", [], 0);
    expect(choice.isDoubtful("webtransport")).toBe(false);
  });

  it("without a WebSocket goes on with WebTransport, whatever failed", () => {
    const choice = new CarrierChoice(true);
    choice.handleLost("webtransport");
    expect(choice.plan(false, 0)?.entrants).toEqual([{ carrier: "webtransport", afterMs: 0 }]);
  });
});
