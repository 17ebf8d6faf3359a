// How this person looks at meetings, remembered on the device.
import type { Store } from "../app/storage";
import type { View } from "./large";

const KEY = "darktower.view";

export interface ViewChoice {
  readonly view: View;
  /** Their own tile is not shown to them. */
  readonly selfHidden: boolean;
}

export function loadView(store: Store): ViewChoice {
  const stored = store.getItem(KEY)?.split(" ") ?? [];
  return {
    view: stored.includes("speaker") ? "speaker" : "grid",
    selfHidden: stored.includes("self-hidden"),
  };
}

export function saveView(store: Store, { view, selfHidden }: ViewChoice): void {
  store.setItem(KEY, selfHidden ? `${view} self-hidden` : view);
}
