// Where a device keeps its key beyond the page: an IndexedDB database, or memory
// where the browser refuses to store anything.

const DATABASE = "darktower-crypto";
const VERSION = 1;
/** A database that answers no sooner is taken for refused. */
const OPEN_MS_MAX = 3000;

const STORE = "device";

export interface DeviceStore {
  /** False when it ends with the page. */
  readonly lasting: boolean;
  get(key: string): Promise<unknown>;
  /** Unless there is one already; what stands there then. */
  putFirst(key: string, value: unknown): Promise<unknown>;
}

/** Forgets with the page. */
export class MemoryStore implements DeviceStore {
  readonly lasting = false;
  readonly #values = new Map<string, unknown>();

  get(key: string): Promise<unknown> {
    return Promise.resolve(this.#values.get(key));
  }

  putFirst(key: string, value: unknown): Promise<unknown> {
    if (!this.#values.has(key)) this.#values.set(key, value);
    return Promise.resolve(this.#values.get(key));
  }
}

class IndexedStore implements DeviceStore {
  readonly lasting = true;
  readonly #database: IDBDatabase;

  constructor(database: IDBDatabase) {
    this.#database = database;
  }

  get(key: string): Promise<unknown> {
    return this.#run("readonly", (values) => values.get(key));
  }

  async putFirst(key: string, value: unknown): Promise<unknown> {
    // One transaction: of two pages that come together, one is first.
    const stored = await this.#run("readwrite", (values) => {
      const found: IDBRequest<unknown> = values.get(key);
      found.onsuccess = () => {
        if (found.result === undefined) values.put(value, key);
      };
      return found;
    });
    return stored ?? value;
  }

  #run(
    mode: IDBTransactionMode,
    start: (values: IDBObjectStore) => IDBRequest<unknown>,
  ): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const transaction = this.#database.transaction(STORE, mode);
      const request = start(transaction.objectStore(STORE));
      transaction.oncomplete = () => resolve(request.result);
      transaction.onerror = () => reject(transaction.error ?? new Error("not stored"));
      transaction.onabort = () => reject(transaction.error ?? new Error("not stored"));
    });
  }
}

/** Memory where the browser refuses: private windows, full disks, blocked storage. */
export async function openDeviceStore(): Promise<DeviceStore> {
  try {
    return new IndexedStore(await openDatabase());
  } catch {
    return new MemoryStore();
  }
}

function openDatabase(): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error("no answer")), OPEN_MS_MAX);
    const request = indexedDB.open(DATABASE, VERSION);
    request.onupgradeneeded = () => {
      request.result.createObjectStore(STORE);
    };
    request.onsuccess = () => {
      clearTimeout(timer);
      const database = request.result;
      // A later version of the app in another tab must not wait for this one.
      database.onversionchange = () => database.close();
      resolve(database);
    };
    request.onerror = () => {
      clearTimeout(timer);
      reject(request.error ?? new Error("refused"));
    };
  });
}
