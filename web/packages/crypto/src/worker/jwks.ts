// The auth controller's public keys, as the statements of devices need them.
import { verifyStatement, type StatementVerdict } from "../statement";
import type { StatementCheck } from "../members";

/** A key that is not there may have been made since; asked for no more often. */
const REFRESH_MS = 10_000;
/** Until an answer, then as if there were none. */
const FETCH_MS = 5000;
const TRIES = 3;

export class Jwks {
  readonly #url: string;
  #text: string | undefined;
  #fetchedMs = Number.NEGATIVE_INFINITY;
  #fetching: Promise<void> | undefined;

  constructor(origin: string) {
    this.#url = `${origin}/.well-known/jwks.json`;
  }

  /** Undefined when the keys can't be had. */
  async check({ statement, deviceKey }: StatementCheck): Promise<StatementVerdict | undefined> {
    for (let left = TRIES; left > 0; left--) {
      if (this.#text !== undefined) {
        const verdict = await verifyStatement(statement, this.#text, deviceKey, Date.now());
        if (verdict.verdict !== "unknown-key") return verdict;
      }
      await this.#refresh();
    }
    return undefined;
  }

  /** One request at a time, whoever asks. */
  #refresh(): Promise<void> {
    this.#fetching ??= this.#fetch().finally(() => {
      this.#fetching = undefined;
    });
    return this.#fetching;
  }

  async #fetch(): Promise<void> {
    const waitMs = this.#fetchedMs + REFRESH_MS - performance.now();
    if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs));
    this.#fetchedMs = performance.now();
    try {
      const response = await fetch(this.#url, { signal: AbortSignal.timeout(FETCH_MS) });
      if (response.ok) this.#text = await response.text();
    } catch {
      // Without an answer statements stay unchecked.
    }
  }
}
