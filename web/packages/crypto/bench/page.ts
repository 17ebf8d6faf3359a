// The page of the benchmark, and the proof that the crypto worker runs in a
// browser: `cryptoBench` is called from journeys/src/bench_crypto.ts.
import { create } from "@bufbuild/protobuf";
import { E2eeEntrySchema, EntryWay, MlsKind, uuidToBytes } from "@darktower/protocol";
import type { FromCrypto, StartCrypto, ToCrypto } from "../src/messages";
import type { Ask, FrameCosts, GroupCosts } from "./messages";

function ask<Result>(message: Ask): Promise<Result> {
  const worker = new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });
  return new Promise<Result>((resolve, reject) => {
    worker.onmessage = (event: MessageEvent<{ result?: Result; error?: string }>) => {
      const { result, error } = event.data;
      if (result === undefined) reject(new Error(error ?? "no result"));
      else resolve(result);
    };
    worker.onerror = (event) => reject(new Error(event.message));
    worker.postMessage(message);
  }).finally(() => worker.terminate());
}

/** What the crypto worker says until it is out of words for now. */
class Worked {
  readonly #port: MessagePort;
  readonly #said: FromCrypto[] = [];
  #wake: () => void = () => undefined;

  constructor() {
    const worker = new Worker(new URL("../src/worker/main.ts", import.meta.url), {
      type: "module",
    });
    const { port1, port2 } = new MessageChannel();
    const start: StartCrypto = { type: "start", port: port1, origin: location.origin };
    worker.postMessage(start, [port1]);
    this.#port = port2;
    port2.onmessage = (event: MessageEvent<FromCrypto>) => {
      this.#said.push(event.data);
      this.#wake();
    };
  }

  tell(message: ToCrypto): void {
    this.#port.postMessage(message);
  }

  async hear<Type extends FromCrypto["type"]>(
    type: Type,
  ): Promise<Extract<FromCrypto, { type: Type }>> {
    for (;;) {
      const at = this.#said.findIndex((message) => message.type === type);
      const [found] = at < 0 ? [] : this.#said.splice(at, 1);
      if (found !== undefined) return found as Extract<FromCrypto, { type: Type }>;
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }
}

/** Founds a group through the real worker; gives the device's thumbprint. */
async function found(): Promise<{ thumbprint: string; code: string; extractable: boolean }> {
  const meetingId = crypto.randomUUID();
  const participantId = crypto.randomUUID();
  const groupId = new Uint8Array(20);
  groupId.set(uuidToBytes(meetingId));
  groupId[19] = 1;
  const worked = new Worked();
  worked.tell({ type: "warm" });
  const { deviceThumbprint } = await worked.hear("ready");
  const entry = create(E2eeEntrySchema, {
    way: EntryWay.FOUND,
    position: { group: 1 },
    groupId,
    externalSender: new Uint8Array(32).fill(1),
    sframeSuite: 4,
  });
  const participantIds = [participantId];
  worked.tell({ type: "seated", meetingId, participantId, name: "Me", entry, participantIds });
  const { id, mls } = await worked.hear("send");
  if (mls.kind !== MlsKind.MLS_FOUNDED) throw new Error("a group is founded first");
  worked.tell({ type: "answer", id, outcome: { type: "ack" } });
  const { keys } = await worked.hear("epoch");
  const { view } = await worked.hear("view");
  const [holder] = view.holders;
  if (holder?.deviceThumbprint !== deviceThumbprint) throw new Error("another device's leaf");
  return {
    thumbprint: deviceThumbprint,
    code: view.meetingCode,
    extractable: keys.baseKey.extractable,
  };
}

const cryptoBench = {
  frames: (suite: 4 | 5, bytes: number) => ask<FrameCosts>({ type: "frames", suite, bytes }),
  groups: (sizes: readonly number[]) => ask<GroupCosts[]>({ type: "groups", sizes }),
  found,
};

export type CryptoBench = typeof cryptoBench;

Object.assign(globalThis, { cryptoBench });
