// Tells who came and went: one polite sentence for a screen reader and the same
// as a passing note. Arrivals close together become one sentence, so that a full
// room does not talk over the meeting.
import { texts } from "../texts";

/** People who come within this time are told together. */
const GATHER_MS = 700;
const NOTE_MS = 4000;

type Kind = "joined" | "left" | "lost" | "removed";

export class Announcer {
  /** For the live region. */
  spoken = $state("");
  /** For the eye; empty when there is nothing to show. */
  note = $state("");

  readonly #waiting = new Map<Kind, string[]>();
  #gather: ReturnType<typeof setTimeout> | undefined;
  #fade: ReturnType<typeof setTimeout> | undefined;

  /** Somebody came or went. */
  person(kind: Kind, name: string): void {
    const names = this.#waiting.get(kind);
    if (names === undefined) this.#waiting.set(kind, [name]);
    else names.push(name);
    this.#gather ??= setTimeout(() => this.#flush(), GATHER_MS);
  }

  /** A sentence of its own, told at once. */
  say(text: string): void {
    this.spoken = text;
    this.note = text;
    clearTimeout(this.#fade);
    this.#fade = setTimeout(() => {
      this.note = "";
      this.spoken = "";
    }, NOTE_MS);
  }

  /** For who listens only: the eye sees it happen. */
  tell(text: string): void {
    this.spoken = text;
  }

  stop(): void {
    clearTimeout(this.#gather);
    clearTimeout(this.#fade);
  }

  #flush(): void {
    this.#gather = undefined;
    const sentences = [...this.#waiting].map(([kind, names]) => sentence(kind, names));
    this.#waiting.clear();
    this.say(sentences.join(". "));
  }
}

/** Keeps a name of the other direction of writing together (Unicode FSI and PDI). */
export const isolate = (name: string): string => `\u2068${name}\u2069`;

function sentence(kind: Kind, names: readonly string[]): string {
  const t = texts.meeting;
  const first = isolate(names[0] ?? "");
  const others = names.length - 1;
  switch (kind) {
    case "joined":
      return others === 0 ? t.joinedOne(first) : t.joinedMany(first, others);
    case "left":
      return others === 0 ? t.leftOne(first) : t.leftMany(first, others);
    case "lost":
      return names.map(isolate).map(t.lostOne).join(". ");
    case "removed":
      return names.map(isolate).map(t.removedOne).join(". ");
  }
}
