// The handle by which a person with the developer tools, or a test, looks into a
// running page. Read only; nothing in the app depends on it.
import type { MeetingHandle } from "./backend";

export interface Diagnostics {
  /** The meeting being joined or held; `null` elsewhere. */
  readonly meeting: MeetingHandle | null;
  /** `lobby`, `meeting` or `ended`; `home` outside a visit. */
  readonly stage: string;
}

declare global {
  var darkTower: Diagnostics | undefined;
}

export function exposeDiagnostics(look: () => Diagnostics): void {
  globalThis.darkTower = {
    get meeting() {
      return look().meeting;
    },
    get stage() {
      return look().stage;
    },
  };
}
