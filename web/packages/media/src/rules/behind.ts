// Whether this client has missed a step of its encryption group: others seal with
// an epoch that does not begin here, and nothing can be opened any more. One
// sender that makes up an epoch is not enough while another's frames are opened.

/** Steps come by signaling and frames by media: for so long one may be ahead. */
export const BEHIND_AFTER_MS = 2000;
/** Another way in costs everybody a commit. */
export const ASK_AGAIN_MS = 60_000;

export class Behind {
  /** Of the first frame in vain after the last one that was opened. */
  #since: number | undefined;
  #askedAt = Number.NEGATIVE_INFINITY;
  #away = false;

  /** Without signaling no step can come; what was missed comes when it is back. */
  setAway(away: boolean): void {
    this.#away = away;
    this.#since = undefined;
  }

  /** A frame was opened: the group is followed. */
  opened(): void {
    this.#since = undefined;
  }

  /** A frame's epoch did not begin in time. True: another way in is to be asked for. */
  inVain(nowMs: number): boolean {
    if (this.#away) return false;
    this.#since ??= nowMs;
    if (nowMs - this.#since < BEHIND_AFTER_MS || nowMs - this.#askedAt < ASK_AGAIN_MS) return false;
    this.#askedAt = nowMs;
    this.#since = undefined;
    return true;
  }
}
