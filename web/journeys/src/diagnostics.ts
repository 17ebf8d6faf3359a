// The figures that the app shows to tests and to the curious at
// `globalThis.darkTower`.
import type { MeetingStats, ParticipantView } from "@darktower/session";
import type { Participant } from "./participant.ts";

interface Diagnostics {
  readonly meeting?: {
    readonly participants: ReadonlyMap<string, ParticipantView>;
    stats(): Promise<MeetingStats>;
  };
}

/** The meeting's own figures. */
export async function stats(person: Participant): Promise<MeetingStats> {
  const found = await person.evaluate(async () => {
    const { darkTower } = globalThis as unknown as { darkTower?: Diagnostics };
    return darkTower?.meeting?.stats();
  }, null);
  if (!found) throw new Error(`${person.name} is in no meeting`);
  return found;
}

/** The id of somebody else in the meeting, by their name. */
export function idOf(person: Participant, name: string): Promise<string> {
  return person.until(`${name} is in the meeting`, () =>
    person.evaluate((wanted) => {
      const { darkTower } = globalThis as unknown as { darkTower?: Diagnostics };
      const all = [...(darkTower?.meeting?.participants.values() ?? [])];
      return all.find((one) => one.name === wanted)?.participantId;
    }, name),
  );
}
