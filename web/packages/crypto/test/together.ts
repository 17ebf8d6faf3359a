// What several tests say of a meeting's people: that they are at one, and the
// three with whom most begin.
import type { Mls } from "@darktower/protocol";
import { expect } from "vitest";
import { Meeting, type Person } from "./delivery";

/** That all hold the same keys, read the same code and see the same people. */
export function expectTogether(people: readonly Person[], names?: readonly string[]): void {
  const [first, ...others] = people;
  if (first === undefined) throw new Error("nobody is here");
  expect(first.key).not.toBe("none");
  expect(first.code).toMatch(/^(\d{5} ){5}\d{5}$/);
  for (const other of others) {
    expect(other.key).toBe(first.key);
    expect(other.code).toBe(first.code);
    expect(other.names).toEqual(first.names);
  }
  if (names !== undefined) expect(first.names).toEqual([...names].toSorted());
  expect(new Set(people.map((person) => person.keys.at(-1)?.leaf)).size).toBe(people.length);
}

export function spoiled(mls: Mls): Mls {
  const data = mls.data.slice();
  data[data.length - 1] = (data.at(-1) ?? 0) ^ 1;
  return { ...mls, data };
}

/** A meeting of three who are at one. */
export async function three(): Promise<[Meeting, Person, Person, Person]> {
  const meeting = new Meeting();
  const [a, b, c] = await meeting.join("A", "B", "C");
  if (a === undefined || b === undefined || c === undefined) throw new Error("three come");
  expectTogether([a, b, c], ["A", "B", "C"]);
  return [meeting, a, b, c];
}
