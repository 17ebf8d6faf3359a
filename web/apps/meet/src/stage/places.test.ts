import { describe, expect, it } from "vitest";
import { seat } from "./places";

const base = { before: [] as string[], speakers: [] as string[], capacity: 9 };

describe("places", () => {
  it("are given in the order of arrival", () => {
    expect(seat({ ...base, present: ["a", "b", "c"] })).toEqual(["a", "b", "c"]);
  });

  it("are kept while people come", () => {
    expect(seat({ ...base, before: ["b", "a"], present: ["a", "b", "c"] })).toEqual([
      "b",
      "a",
      "c",
    ]);
  });

  it("change for one person only when somebody leaves", () => {
    const before = ["a", "b", "c", "d", "e"];
    expect(seat({ ...base, before, present: ["a", "c", "d", "e"] })).toEqual(["a", "e", "c", "d"]);
    expect(seat({ ...base, before, present: ["a", "b", "c", "d"] })).toEqual(["a", "b", "c", "d"]);
  });

  it("do not change when people speak who already have one", () => {
    const before = ["a", "b", "c"];
    expect(seat({ ...base, before, present: before, speakers: ["c"] })).toEqual(before);
  });

  it("are handed from the longest silent to a speaker when there are too few", () => {
    const present = ["a", "b", "c", "d"];
    const seats = seat({
      before: ["a", "b", "c"],
      present,
      speakers: ["d", "b", "a"],
      capacity: 3,
    });
    expect(seats).toEqual(["a", "b", "d"]);
  });

  it("keep the speakers when the window shrinks", () => {
    const before = ["a", "b", "c", "d"];
    expect(seat({ before, present: before, speakers: ["d", "c"], capacity: 2 })).toEqual([
      "c",
      "d",
    ]);
  });

  it("hold nobody twice and nobody absent, whatever happens", () => {
    let seed = 7;
    const random = (n: number): number => {
      seed = (seed * 1103515245 + 12345) % 2147483648;
      return seed % n;
    };
    let before: readonly string[] = [];
    for (let round = 0; round < 3000; round++) {
      const present = "abcdefghijkl".split("").filter(() => random(3) > 0);
      const speakers = present.filter(() => random(3) === 0);
      const capacity = 1 + random(9);
      const seats = seat({ before, present, speakers, capacity });
      expect(new Set(seats).size).toBe(seats.length);
      expect(seats.length).toBe(Math.min(capacity, present.length));
      expect(seats.every((key) => present.includes(key))).toBe(true);
      const again = seat({ before: seats, present, speakers, capacity });
      expect(again).toEqual(seats);
      before = seats;
    }
  });
});
