// The browser's two storages, or memory where a browser withholds them (blocked
// site data, private windows): then things are forgotten with the page.

export type Store = Pick<Storage, "getItem" | "setItem" | "removeItem">;

class Memory implements Store {
  readonly #items = new Map<string, string>();
  getItem(key: string): string | null {
    return this.#items.get(key) ?? null;
  }
  setItem(key: string, value: string): void {
    this.#items.set(key, value);
  }
  removeItem(key: string): void {
    this.#items.delete(key);
  }
}

/** Falls back to memory for the calls that a browser refuses, a full storage too. */
class Guarded implements Store {
  readonly #memory = new Memory();
  readonly #open: () => Storage;

  constructor(open: () => Storage) {
    this.#open = open;
  }

  getItem(key: string): string | null {
    return this.#try((s) => s.getItem(key)) ?? this.#memory.getItem(key);
  }
  setItem(key: string, value: string): void {
    this.#memory.setItem(key, value);
    this.#try((s) => s.setItem(key, value));
  }
  removeItem(key: string): void {
    this.#memory.removeItem(key);
    this.#try((s) => s.removeItem(key));
  }
  #try<T>(use: (storage: Storage) => T): T | null {
    try {
      return use(this.#open());
    } catch {
      return null;
    }
  }
}

/** What this device remembers. */
export const deviceStore: Store = new Guarded(() => localStorage);
/** What this tab remembers across a reload. */
export const tabStore: Store = new Guarded(() => sessionStorage);
