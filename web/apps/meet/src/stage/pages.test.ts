import { describe, expect, it } from "vitest";
import { NO_SEATS, fit, onPage, pageCount, seatAll, type Seats } from "./pages";

const letters = (n: number): string[] => "abcdefghijklmnopqrstuvwxyz".slice(0, n).split("");

describe("how many fit", () => {
  it("is all, as long as there is room for all with oneself", () => {
    expect(fit(8, 1, 9, 6)).toEqual({ first: 8, other: 9, paged: false });
    expect(fit(9, 0, 9, 6)).toEqual({ first: 9, other: 9, paged: false });
  });

  it("leaves room for turning pages else, and for oneself on the first one", () => {
    expect(fit(9, 1, 9, 6)).toEqual({ first: 5, other: 6, paged: true });
  });

  it("is one, however small the window", () => {
    expect(fit(3, 1, 1, 1)).toEqual({ first: 1, other: 1, paged: true });
  });
});

describe("pages", () => {
  const fits = fit(8, 1, 4, 4);
  const seats = seatAll({ before: NO_SEATS, present: letters(8), speakers: [], fit: fits });

  it("are filled in the order of arrival", () => {
    expect(pageCount(seats, fits)).toBe(3);
    expect(onPage(seats, fits, 0)).toEqual(["a", "b", "c"]);
    expect(onPage(seats, fits, 1)).toEqual(["d", "e", "f", "g"]);
    expect(onPage(seats, fits, 2)).toEqual(["h"]);
  });

  it("show the last one when there are fewer than before", () => {
    expect(onPage(seats, fits, 7)).toEqual(["h"]);
    expect(onPage({ first: ["a"], rest: [] }, fits, 2)).toEqual(["a"]);
  });

  it("let a speaker and who makes room for them change places, and nobody else", () => {
    const next = seatAll({ before: seats, present: letters(8), speakers: ["f"], fit: fits });
    const [, , third] = seats.first;
    expect(next.first).toEqual(["a", "b", "f"]);
    expect(next.rest).toEqual(seats.rest.map((key) => (key === "f" ? third : key)));
  });

  it("move two people at most when one leaves, and one when it is on a later page", () => {
    for (const leaver of letters(8)) {
      const present = letters(8).filter((key) => key !== leaver);
      const next = seatAll({ before: seats, present, speakers: [], fit: fits });
      const moved = present.filter((key) => place(seats, key) !== place(next, key));
      expect(moved.length).toBeLessThanOrEqual(seats.first.includes(leaver) ? 2 : 1);
    }
  });

  it("hold everybody once, whatever happens, and stay when nothing does", () => {
    let seed = 11;
    const random = (n: number): number => {
      seed = (seed * 1103515245 + 12345) % 2147483648;
      return seed % n;
    };
    let before: Seats = NO_SEATS;
    for (let round = 0; round < 3000; round++) {
      const present = letters(14).filter(() => random(4) > 0);
      const speakers = present.filter(() => random(4) === 0);
      const now = fit(present.length, random(2), 1 + random(12), 1 + random(8));
      const next = seatAll({ before, present, speakers, fit: now });
      const all = [...next.first, ...next.rest];
      expect([...all].sort()).toEqual([...present].sort());
      expect(next.first.length).toBe(Math.min(now.first, present.length));
      expect(seatAll({ before: next, present, speakers, fit: now })).toEqual(next);
      const shown: string[] = [];
      for (let page = 0; page < pageCount(next, now); page++) {
        shown.push(...onPage(next, now, page));
      }
      expect(shown).toEqual(all);
      before = next;
    }
  });
});

const place = (seats: Seats, key: string): string =>
  `${String(seats.first.indexOf(key))} ${String(seats.rest.indexOf(key))}`;
