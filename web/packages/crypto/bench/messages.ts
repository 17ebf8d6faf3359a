// What the page of the benchmark asks its worker for, and gets.

export interface FrameCosts {
  readonly suite: number;
  /** Milliseconds a frame, one value a batch of frames. */
  readonly seal: readonly number[];
  readonly open: readonly number[];
}

export interface GroupCosts {
  readonly members: number;
  /** Milliseconds. */
  readonly enter: readonly number[];
  readonly add: readonly number[];
  readonly join: readonly number[];
  readonly remove: readonly number[];
  readonly process: readonly number[];
}

export type Ask =
  | { readonly type: "frames"; readonly suite: 4 | 5; readonly bytes: number }
  | { readonly type: "groups"; readonly sizes: readonly number[] };
