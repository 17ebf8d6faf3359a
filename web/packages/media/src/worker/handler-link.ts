// A media session with one handler: opened ahead of the join where it can be,
// kept alive by RTT packets, opened again with a fresh token when it is lost.
// What it brings is handed on parsed; what breaks the rules is counted and
// dropped, or costs the stream that brought it.
import { create } from "@bufbuild/protobuf";
import {
  DATAGRAM_BYTES_SAFE,
  DATAGRAM_TAG,
  MediaHelloSchema,
  ProtocolError,
  ReceiverReportSchema,
  RequestKeyframeSchema,
  parseDatagram,
  readMediaServerMessage,
  writeMediaClientMessage,
  type Framed,
  type ParsedDatagram,
  type StreamHeader,
} from "@darktower/protocol";
import {
  Backoff,
  CloseCode,
  Liveness,
  type HandlerEndpoint,
  type HandlerId,
  type MediaServer,
  type TransportName,
} from "@darktower/session";
import type { CarrierChoice } from "../rules/carrier-choice";
import type { Report } from "../rules/receiver-report";
import { Dialing } from "./carrier/dialing";
import type { GroupSink, GroupStream, Session } from "./carrier/types";
import type { MediaPath } from "./outgoing";

const OPEN_TIMEOUT_MS = 5000;
/** An open session that does not answer for so long is broken. */
const HELLO_TIMEOUT_MS = 3000;
/** Probes are a second apart: one that heard nothing for longer lost an answer. */
const DOUBTFUL_MS = 1200;
const DATAGRAM_BYTES_MIN = 256;

export interface HandlerEvents {
  /** Media can be sent and received. */
  ready(link: HandlerLink): void;
  lost(link: HandlerLink): void;
  /** A fresh token is wanted for {@link HandlerLink.start}. */
  needToken(id: HandlerId): void;
  /** Undefined: nobody wants this stream. */
  group(link: HandlerLink, header: StreamHeader): GroupSink | undefined;
  datagram(link: HandlerLink, datagram: ParsedDatagram): void;
  keyframe(streamId: string, encoding: number): void;
  /** How what is sent arrives at a handler. */
  arrival(link: HandlerLink, arrival: Arrival): void;
  discard(cause: string): void;
}

export interface Arrival {
  /** Datagrams that did not arrive, in millionths. */
  readonly lostPpm: number;
  readonly repeatAudio: boolean;
}

interface Attempt {
  readonly dialing: Dialing;
  session: Session | undefined;
  beaten: readonly TransportName[];
  liveness: Liveness | undefined;
  /** A token was spent on it. */
  started: boolean;
  welcomed: boolean;
}

export class HandlerLink implements MediaPath {
  readonly id: HandlerId;
  /** Bytes of a whole datagram that may be sent. */
  datagramBytes = DATAGRAM_BYTES_SAFE;
  readonly choice: CarrierChoice;
  readonly #events: HandlerEvents;
  readonly #backoff = new Backoff(Math.random);
  #endpoint: HandlerEndpoint;
  #attempt: Attempt | undefined;
  #beatTimer: ReturnType<typeof setTimeout> | undefined;
  #retryTimer: ReturnType<typeof setTimeout> | undefined;
  #closed = false;

  constructor(endpoint: HandlerEndpoint, choice: CarrierChoice, events: HandlerEvents) {
    this.id = endpoint.handlerId;
    this.choice = choice;
    this.#endpoint = endpoint;
    this.#events = events;
  }

  get ready(): boolean {
    return this.#attempt?.welcomed === true;
  }

  get rttMs(): number | null {
    return this.#attempt?.liveness?.rttMs ?? null;
  }

  /** What carries the session; undefined while there is none. */
  get carrier(): TransportName | undefined {
    return this.#attempt?.session?.carrier;
  }

  /** Opens the session ahead of the token. */
  warm(): void {
    if (this.#attempt === undefined && !this.#closed) this.#dial(true);
  }

  /** Begins media with a token, on the warm session if there is one. */
  start(server: MediaServer): void {
    if (this.#closed) return;
    if (this.#attempt?.started === true) {
      if (!this.#isDoubtful(this.#attempt)) return;
      // Signaling just came back by another way, and here nothing comes in either.
      this.#drop(this.#attempt);
    }
    this.#endpoint = server.endpoint;
    const attempt = this.#attempt ?? this.#dial(false);
    if (attempt === undefined) return;
    attempt.started = true;
    attempt.dialing.hurry();
    void this.#hello(attempt, server.token);
  }

  /**
   * Signaling learned that the WebSocket is what works on this network; `doubtful`:
   * though WebTransport may open.
   */
  preferWebSocket(doubtful: boolean): void {
    const attempt = this.#attempt;
    if (attempt?.welcomed === true) return;
    this.choice.handleHint();
    if (doubtful && attempt?.started === false && attempt.session?.carrier === "webtransport") {
      this.#end(attempt);
      this.warm();
    } else {
      attempt?.dialing.prefer("websocket");
    }
  }

  /** No token was to be had: asks again, a little later. */
  handleNoToken(): void {
    if (this.#attempt?.started !== true) this.#retry();
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#retryTimer);
    if (this.#attempt !== undefined) this.#end(this.#attempt);
  }

  requestKeyframe(streamId: string, encoding: number): void {
    const value = create(RequestKeyframeSchema, { streamId, encoding });
    const message = writeMediaClientMessage(0n, { case: "requestKeyframe", value });
    if (this.ready) this.#attempt?.session?.send(message);
  }

  /** What is to be seen here, from now on. */
  report(report: Report): void {
    const value = create(ReceiverReportSchema, {
      tiles: report.tiles.map((tile) => ({ ...tile })),
      maxBitrate: report.maxBitrate,
      overloaded: report.overloaded,
    });
    const message = writeMediaClientMessage(0n, { case: "receiverReport", value });
    if (this.ready) this.#attempt?.session?.send(message);
  }

  sendDatagram(datagram: Uint8Array): void {
    this.#attempt?.session?.sendDatagram(datagram);
  }

  async openGroup(header: StreamHeader, sendOrder: number): Promise<GroupStream> {
    const session = this.#attempt?.session;
    if (session === undefined) throw new Error("the media session is gone");
    return session.openGroup(header, sendOrder);
  }

  #dial(patient: boolean): Attempt | undefined {
    const plan = this.choice.plan(this.#endpoint.websocketUrl !== null, Date.now());
    if (plan === undefined) {
      this.#events.discard("no way to a media handler");
      return undefined;
    }
    const attempt: Attempt = {
      dialing: new Dialing(this.#endpoint, "media", plan, patient),
      session: undefined,
      beaten: [],
      liveness: undefined,
      started: false,
      welcomed: false,
    };
    this.#attempt = attempt;
    attempt.dialing.won.then(
      ({ session, beaten }) => {
        attempt.session = session;
        attempt.beaten = beaten;
        void session.closed.then(({ code }) => {
          // Closed with a code it was the server's wish, and no fault of the carrier.
          this.#gone(attempt, code === undefined);
        });
      },
      () => {
        this.#gone(attempt, false);
      },
    );
    return attempt;
  }

  async #hello(attempt: Attempt, token: string): Promise<void> {
    const giveUp = (): void => {
      if (!attempt.welcomed) this.#gone(attempt, true);
    };
    let timeout = setTimeout(giveUp, OPEN_TIMEOUT_MS);
    try {
      const { session } = await attempt.dialing.won;
      clearTimeout(timeout);
      timeout = setTimeout(giveUp, HELLO_TIMEOUT_MS);
      await session.start({
        control: (framed) => {
          this.#take(attempt, session, framed);
          if (attempt.welcomed) clearTimeout(timeout);
        },
        discard: (cause) => {
          this.#events.discard(cause);
        },
        media: {
          datagram: (bytes) => {
            this.#datagram(bytes);
          },
          group: (header) => this.#events.group(this, header),
        },
      });
      const value = create(MediaHelloSchema, { connectionToken: token });
      session.send(writeMediaClientMessage(1n, { case: "hello", value }));
    } catch {
      clearTimeout(timeout);
      this.#gone(attempt, false);
    }
  }

  #take(attempt: Attempt, session: Session, framed: Framed): void {
    if (this.#attempt !== attempt) return;
    const now = performance.now();
    if (framed.type === "rtt") {
      attempt.liveness?.handleEcho(framed.bytes, now);
      session.setDelay(attempt.liveness?.delayMs(now) ?? 0);
      return;
    }
    attempt.liveness?.heard(now);
    const message = readMediaServerMessage(framed.bytes);
    if (message === undefined) return;
    const { body } = message;
    switch (body.case) {
      case "welcome":
        if (attempt.welcomed) return;
        attempt.welcomed = true;
        attempt.liveness = new Liveness(now);
        this.#backoff.reset();
        this.choice.handleWorks(session.carrier, attempt.beaten, Date.now());
        this.datagramBytes = datagramLimit(session, body.value.maxDatagramBytes);
        this.#beat(attempt, session);
        this.#events.ready(this);
        return;
      case "requestKeyframe":
        this.#events.keyframe(body.value.streamId, body.value.encoding);
        return;
      case "senderReport":
        this.#events.arrival(this, body.value);
        return;
      case "error":
        this.#events.discard("media error message");
    }
  }

  #beat(attempt: Attempt, session: Session): void {
    const { liveness } = attempt;
    if (liveness === undefined || this.#attempt !== attempt) return;
    for (;;) {
      const now = performance.now();
      const probe = liveness.poll(now);
      if (probe.type === "dead") {
        this.#gone(attempt, true);
        return;
      }
      session.setDelay(liveness.delayMs(now));
      if (probe.type === "wait") break;
      session.send(probe.packet);
    }
    clearTimeout(this.#beatTimer);
    this.#beatTimer = setTimeout(
      () => {
        this.#beat(attempt, session);
      },
      Math.max(0, liveness.due - performance.now()),
    );
  }

  #datagram(bytes: Uint8Array): void {
    if (bytes[0] !== DATAGRAM_TAG) return;
    try {
      this.#events.datagram(this, parseDatagram(bytes));
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.#events.discard("malformed datagram");
    }
  }

  #isDoubtful(attempt: Attempt): boolean {
    const { liveness } = attempt;
    return liveness !== undefined && performance.now() - liveness.heardAt > DOUBTFUL_MS;
  }

  /** `failed`: its carrier failed it, and another is better tried next. */
  #gone(attempt: Attempt, failed: boolean): void {
    if (this.#attempt !== attempt) return;
    if (failed) this.#drop(attempt);
    else this.#end(attempt);
    // A warm session that went away is opened again when it is needed.
    if (this.#closed || !attempt.started) return;
    if (attempt.welcomed) this.#events.lost(this);
    this.#retry();
  }

  #drop(attempt: Attempt): void {
    if (attempt.session !== undefined) this.choice.handleLost(attempt.session.carrier);
    this.#end(attempt);
  }

  #end(attempt: Attempt): void {
    if (this.#attempt === attempt) this.#attempt = undefined;
    clearTimeout(this.#beatTimer);
    attempt.dialing.cancel();
    attempt.session?.close(CloseCode.graceful);
  }

  #retry(): void {
    clearTimeout(this.#retryTimer);
    this.#retryTimer = setTimeout(() => {
      if (this.#closed || this.#attempt?.started === true) return;
      // Dialled while the token is on its way.
      this.warm();
      this.#events.needToken(this.id);
    }, this.#backoff.next());
  }
}

function datagramLimit(session: Session, handlerBytes: number): number {
  const known = Math.min(session.datagramBytesMax, handlerBytes || DATAGRAM_BYTES_SAFE);
  return Math.max(DATAGRAM_BYTES_MIN, known);
}
