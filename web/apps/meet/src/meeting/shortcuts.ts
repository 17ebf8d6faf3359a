// Which key does what in a meeting. Pure: it looks at an event's facts and names
// an action; who listens and acts is MeetingRoom.

export type Action =
  | "microphone"
  | "camera"
  | "share"
  | "view"
  | "next"
  | "previous"
  | "people"
  | "encryption"
  | "leave"
  | "shortcuts";

/** The keys as browsers call them; shown in tooltips and in the help. */
export const KEYS: Readonly<Record<Action, string>> = {
  microphone: "M",
  camera: "V",
  share: "S",
  view: "G",
  next: "PageDown",
  previous: "PageUp",
  people: "P",
  encryption: "E",
  leave: "L",
  shortcuts: "?",
};

export interface KeyFacts {
  readonly key: string;
  readonly ctrlKey: boolean;
  readonly metaKey: boolean;
  readonly altKey: boolean;
  readonly repeat: boolean;
}

/** The action of a key press, or `null`. Combined keys belong to the browser. */
export function actionOf(event: KeyFacts): Action | null {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return null;
  // Letters act in either case; other keys have names.
  const key = event.key.length === 1 ? event.key.toLocaleUpperCase() : event.key;
  for (const [action, name] of Object.entries(KEYS) as [Action, string][]) {
    if (name === key) return action;
  }
  return null;
}

/** Whether a key pressed there is meant for the element itself: it takes text. */
export function takesText(element: Element | null): boolean {
  if (element === null) return false;
  if (element.closest("[contenteditable]:not([contenteditable='false'])") !== null) return true;
  const tag = element.tagName;
  if (tag === "TEXTAREA" || tag === "SELECT") return true;
  if (tag !== "INPUT") return false;
  const type = element.getAttribute("type") ?? "text";
  return !["button", "checkbox", "radio", "range", "submit", "reset"].includes(type);
}

/** Whether Space there presses a control and so can't mean push-to-talk. */
export function takesSpace(element: Element | null): boolean {
  if (takesText(element)) return true;
  if (element === null) return false;
  return element.closest("button, a[href], input, summary, [role='button']") !== null;
}

/** Whether the page keys there scroll a panel. */
export const takesPages = (element: Element | null): boolean =>
  element !== null && element.closest("aside") !== null;
