// What stands for a person: initials, a colour that stays theirs, and the search
// in the list of people. Pure.

/** Hues of the avatars' colours; chosen apart from each other on the wheel. */
const HUES_MAX = 8;
/** Longer names than this are no names. The server has its own limit. */
export const NAME_LENGTH_MAX = 64;

/** One or two letters: of the first and the last word. */
export function initials(name: string): string {
  const words = name.trim().split(/\s+/u).filter(Boolean);
  const first = letter(words[0]);
  const last = words.length > 1 ? letter(words.at(-1)) : "";
  return (first + last).toLocaleUpperCase();
}

/**
 * A letter that is a whole character as it stands. Most names begin with one, and
 * a segmenter takes a browser 50 ms to make, just when a picture is to be shown.
 */
const WHOLE =
  /^[\p{Script=Latin}\p{Script=Greek}\p{Script=Cyrillic}\p{Script=Han}](?![\p{M}\u200c\u200d])/u;
let segmenter: Intl.Segmenter | undefined;

function letter(word: string | undefined): string {
  if (word === undefined) return "";
  const whole = WHOLE.exec(word);
  if (whole !== null) return whole[0];
  // Whole characters as people see them: a letter with its accents, an emoji.
  segmenter ??= new Intl.Segmenter(undefined, { granularity: "grapheme" });
  for (const { segment } of segmenter.segment(word))
    if (/[\p{L}\p{N}\p{Emoji}]/u.test(segment)) return segment;
  return "";
}

/** A number from 0 to 7 that is always the same for the same id. */
export function hue(id: string): number {
  // FNV-1a: spreads ids that differ in one digit.
  let hash = 0x811c9dc5;
  for (const char of id) hash = Math.imul(hash ^ (char.codePointAt(0) ?? 0), 0x01000193);
  return (hash >>> 0) % HUES_MAX;
}

/** A name as it is sent: trimmed, single spaces, bounded. */
export function tidyName(name: string): string {
  return name.replace(/\s+/gu, " ").trim().slice(0, NAME_LENGTH_MAX).trim();
}

/** Whether a person is found by what was typed: every word somewhere in the name. */
export function matches(name: string, search: string): boolean {
  const plain = fold(name);
  return fold(search)
    .split(/\s+/u)
    .every((word) => plain.includes(word));
}

/** Without accents and case: `Zoë` is found by `zoe`. */
function fold(text: string): string {
  return text.normalize("NFD").replace(/\p{M}/gu, "").toLocaleLowerCase().trim();
}
