// A pretend controller for tests: reads what the client would send and answers.
import { create, fromBinary } from "@bufbuild/protobuf";
import {
  ClientMessageSchema,
  JoinResponseSchema,
  ParticipantSchema,
  type ClientMessage,
  type JoinResponse,
  type ServerBody,
} from "@darktower/protocol";
import {
  Signaling,
  type SignalingEffect,
  type SignalingEvent,
  type SignalingOptions,
} from "../src";

export class Driver {
  readonly signaling: Signaling;
  readonly sent: ClientMessage["body"][] = [];
  readonly ids: bigint[] = [];
  readonly events: SignalingEvent[] = [];
  readonly connects: number[] = [];
  readonly closes: number[] = [];
  /** Closed because they failed. */
  readonly failures: number[] = [];
  now = 0;

  constructor(options: Partial<SignalingOptions> = {}) {
    this.signaling = new Signaling({
      meetingId: "meeting",
      joinToken: "token",
      origin: "https://meet.example",
      random: () => 0.5,
      ...options,
    });
  }

  /** Carries out the effects; probes are not recorded. */
  pump(): void {
    for (let effects = this.signaling.takeEffects(); effects.length > 0;) {
      for (const effect of effects) this.#carryOut(effect);
      effects = this.signaling.takeEffects();
    }
  }

  advance(ms: number): void {
    const end = this.now + ms;
    for (;;) {
      const due = this.signaling.due;
      if (due === undefined || due > end) break;
      this.now = Math.max(this.now, due);
      this.signaling.handleTimeout(this.now);
      this.pump();
    }
    this.now = end;
  }

  get attempt(): number {
    return this.connects.at(-1) ?? 0;
  }

  open(): void {
    this.signaling.handleOpen(this.attempt, this.now);
    this.pump();
  }

  answer(requestId: bigint, body: ServerBody): void {
    this.signaling.handleMessage(this.attempt, { requestId, body }, this.now);
    this.pump();
  }

  push(body: ServerBody): void {
    this.answer(0n, body);
  }

  /** The id of the newest request of this kind. */
  idOf(name: ClientMessage["body"]["case"]): bigint {
    const place = this.sent.findLastIndex((body) => body.case === name);
    const id = this.ids[place];
    if (id === undefined) throw new Error(`no ${String(name)} was sent`);
    return id;
  }

  count(name: ClientMessage["body"]["case"]): number {
    return this.sent.filter((body) => body.case === name).length;
  }

  of<T extends SignalingEvent["type"]>(type: T): Extract<SignalingEvent, { type: T }>[] {
    return this.events.filter(
      (event): event is Extract<SignalingEvent, { type: T }> => event.type === type,
    );
  }

  seat(response: Partial<JoinResponse> = {}): void {
    const value = create(JoinResponseSchema, {
      participantId: "me",
      userId: 1n,
      resumeToken: new Uint8Array(32).fill(7),
      self: create(ParticipantSchema, { participantId: "me", userId: 1n, name: "Me" }),
    });
    Object.assign(value, response);
    this.answer(this.idOf("joinRequest"), { case: "joinResponse", value });
  }

  #carryOut(effect: SignalingEffect): void {
    switch (effect.type) {
      case "connect":
        this.connects.push(effect.attempt);
        return;
      case "close":
        this.closes.push(effect.attempt);
        if (effect.failed) this.failures.push(effect.attempt);
        return;
      case "event":
        this.events.push(effect.event);
        return;
      case "send": {
        if (effect.message[0] === 3) {
          this.signaling.handleEcho(
            effect.attempt,
            this.echo ? effect.message : new Uint8Array(),
            this.now,
          );
          return;
        }
        const message = fromBinary(ClientMessageSchema, effect.message);
        this.sent.push(message.body);
        this.ids.push(message.requestId);
      }
    }
  }

  /** Whether the server answers RTT packets. */
  echo = true;
}
