import { create } from "@bufbuild/protobuf";
import {
  AckSchema,
  E2eeEntrySchema,
  EntryWay,
  ErrorCode,
  ErrorMessageSchema,
  MeetingInfoSchema,
  MeetingUpdatedSchema,
  MlsKind,
  MlsSchema,
  type Mls,
  type ServerBody,
} from "@darktower/protocol";
import { describe, expect, it } from "vitest";
import { Driver } from "./server";

const ack: ServerBody = { case: "ack", value: create(AckSchema) };
const commit = (): Mls => create(MlsSchema, { kind: MlsKind.MLS_COMMIT, data: new Uint8Array(3) });
const entry = create(E2eeEntrySchema, { way: EntryWay.FOUND, sframeSuite: 4 });

function refusal(code: ErrorCode, retryAfterMs?: number): ServerBody {
  const value = create(ErrorMessageSchema, { code, message: "because" });
  if (retryAfterMs !== undefined) value.retryAfterMs = retryAfterMs;
  return { case: "error", value };
}

function open(driver = new Driver()): Driver {
  driver.signaling.join("Me", driver.now);
  driver.pump();
  driver.open();
  return driver;
}

function joined(): Driver {
  const driver = open();
  driver.seat({ e2ee: entry });
  return driver;
}

function joinedEncrypted(): Driver {
  const driver = open(new Driver({ encrypted: true }));
  driver.seat({ e2ee: entry });
  return driver;
}

function offered(driver: Driver): unknown {
  const join = driver.sent.findLast((body) => body.case === "joinRequest");
  if (join?.case !== "joinRequest") throw new Error("no join was sent");
  return join.value.e2ee;
}

describe("the offer", () => {
  it("stands in every join, and says nothing of a group on the first", () => {
    expect(offered(open())).toMatchObject({ version: 1 });
    expect(offered(open())).not.toHaveProperty("position");
  });

  it("is absent where the browser can't encrypt", () => {
    const driver = new Driver();
    driver.signaling.setEncryption({ able: false });
    expect(offered(open(driver))).toBeUndefined();
  });

  it("names the group in memory when a seat is taken back", () => {
    const driver = joined();
    driver.signaling.setEncryption({ able: true, position: { group: 2, epoch: 7n } });
    driver.signaling.handleClosed(driver.attempt, undefined, "", driver.now);
    driver.pump();
    driver.advance(200);
    driver.open();
    expect(offered(driver)).toMatchObject({ version: 1, position: { group: 2, epoch: 7n } });
  });
});

describe("the way into the group", () => {
  it("is told before anything may be sent", () => {
    const driver = open();
    driver.events.length = 0;
    const meeting = create(MeetingInfoSchema, { enableE2eEncryption: true, displayName: "Plans" });
    driver.seat({ e2ee: entry, meeting });
    const order = driver.events.map((event) => event.type);
    expect(order.indexOf("entry")).toBeLessThan(order.indexOf("seated"));
    expect(driver.of("entry")).toMatchObject([{ seated: true, entry: { way: EntryWay.FOUND } }]);
    expect(driver.of("meeting")).toMatchObject([{ info: { displayName: "Plans" } }]);
  });

  it("may change later, and messages of the group are handed on", () => {
    const driver = joined();
    driver.push({ case: "e2eeEntry", value: entry });
    driver.push({ case: "mls", value: commit() });
    expect(driver.of("entry").at(-1)).toMatchObject({ seated: false });
    expect(driver.of("mls")).toMatchObject([{ mls: { kind: MlsKind.MLS_COMMIT } }]);
  });
});

describe("pictures", () => {
  const asked = (driver: Driver): number =>
    driver.sent.filter((body) => body.case === "subscribeLayout").length;

  it("are asked for behind the first step into the group, and once", () => {
    const driver = joinedEncrypted();
    expect(asked(driver)).toBe(0);
    driver.signaling.setLayout({ kind: "grid", columns: 2, rows: 1 });
    driver.signaling.sendMls(1, commit());
    driver.signaling.sendMls(2, commit());
    driver.pump();
    expect(asked(driver)).toBe(1);
    const order = driver.sent.map((body) => body.case);
    expect(order.indexOf("mls")).toBeLessThan(order.indexOf("subscribeLayout"));
  });

  it("are asked for with the join by who goes on in the group, and where there is none", () => {
    const driver = joinedEncrypted();
    driver.signaling.setEncryption({ able: true, position: { group: 1, epoch: 2n } });
    driver.signaling.handleClosed(driver.attempt, undefined, "", driver.now);
    driver.pump();
    driver.advance(200);
    driver.open();
    expect(asked(driver)).toBe(1);
    expect(asked(open())).toBe(1);
  });
});

describe("the meeting's name", () => {
  it("is told again when the host changes it", () => {
    const driver = joined();
    const meeting = create(MeetingInfoSchema, { displayName: "Weekly" });
    const value = create(MeetingUpdatedSchema, { meeting });
    driver.push({ case: "meetingUpdated", value });
    expect(driver.of("meeting")).toMatchObject([{ info: { displayName: "Weekly" } }]);
  });
});

describe("what is said to the group", () => {
  it("is answered by its own number, in whatever order", () => {
    const driver = joined();
    driver.signaling.sendMls(41, commit());
    driver.pump();
    const first = driver.idOf("mls");
    driver.signaling.sendMls(42, commit());
    driver.pump();
    driver.answer(driver.idOf("mls"), refusal(ErrorCode.CONFLICT));
    driver.answer(first, ack);
    driver.signaling.sendMls(43, commit());
    driver.pump();
    driver.answer(driver.idOf("mls"), refusal(ErrorCode.INVALID_REQUEST));
    expect(driver.of("mls-answer")).toMatchObject([
      { id: 42, outcome: { type: "conflict", message: "because" } },
      { id: 41, outcome: { type: "ack" } },
      { id: 43, outcome: { type: "error", message: "because" } },
    ]);
    expect(driver.of("refused")).toHaveLength(0);
  });

  it("is lost with its session, and so is what is said without one", () => {
    const driver = joined();
    driver.signaling.sendMls(1, commit());
    driver.pump();
    driver.signaling.handleClosed(driver.attempt, undefined, "", driver.now);
    driver.pump();
    driver.signaling.sendMls(2, commit());
    driver.pump();
    expect(driver.of("mls-answer")).toMatchObject([
      { id: 1, outcome: { type: "lost" } },
      { id: 2, outcome: { type: "lost" } },
    ]);
  });

  it("is said again after a rate limit, under the same number", () => {
    const driver = joined();
    driver.signaling.sendMls(5, commit());
    driver.pump();
    driver.answer(driver.idOf("mls"), refusal(ErrorCode.RATE_LIMITED, 500));
    driver.advance(500);
    expect(driver.count("mls")).toBe(2);
    driver.answer(driver.idOf("mls"), ack);
    expect(driver.of("mls-answer")).toMatchObject([{ id: 5, outcome: { type: "ack" } }]);
  });

  it("each gets exactly one answer, however many are asked at once", () => {
    const driver = joined();
    for (let id = 0; id < 400; id++) driver.signaling.sendMls(id, commit());
    driver.signaling.handleClosed(driver.attempt, undefined, "", driver.now);
    driver.pump();
    const ids = driver.of("mls-answer").map((event) => event.id);
    expect(ids).toHaveLength(400);
    expect(new Set(ids).size).toBe(400);
  });
});

describe("an encryption that fails inside", () => {
  it("ends the meeting for this participant and says why", () => {
    const driver = joined();
    driver.signaling.giveUpEncryption("encryption-unsupported");
    driver.pump();
    expect(driver.count("leave")).toBe(1);
    expect(driver.signaling.phase).toMatchObject({
      phase: "ended",
      reason: "encryption-unsupported",
    });
  });
});
