// The page's side of a meeting: a facade over the media worker. It holds the
// last snapshots, the device tracks, and nothing that moves at the rate of media.
import type { StartCrypto } from "@darktower/crypto";
import {
  JoinError,
  participantId,
  type EncryptionState,
  type MeetingAccess,
  type MeetingEvents,
  type MeetingLayout,
  type MeetingOptions,
  type MeetingState,
  type MeetingStats,
  type MissingCodecs,
  type ParticipantView,
  type PlaceView,
  type SelfView,
  type SourceKind,
} from "@darktower/session";
import { Emitter } from "./emitter";
import type { FromWorker, SourceInfo, ToWorker, VideoKind } from "./messages";
import { recallNetwork, rememberNetwork } from "./network-memory";
import { Sound } from "./sound";
import { TileSizes } from "./tile-sizes";
import { startVideo } from "./video-capture";

/** The worker says goodbye within this time before it is ended. */
const FAREWELL_MS = 500;
const STATS_TIMEOUT_MS = 5000;

export interface JoinOptions {
  readonly name: string;
  readonly microphone?: MediaStreamTrack | null;
  readonly camera?: MediaStreamTrack | null;
  readonly micMuted?: boolean;
  readonly cameraMuted?: boolean;
}

/** What the browser lacks for a meeting; empty where all is there. */
export function missingFeatures(): string[] {
  // Without WebTransport there is the WebSocket.
  const needed = ["VideoEncoder", "VideoDecoder", "AudioEncoder", "AudioDecoder"];
  needed.push("AudioWorkletNode", "OffscreenCanvas");
  return needed.filter((name) => !(name in globalThis));
}

export interface CanvasOptions {
  /** The box that says how large the picture is seen; else what is around the canvas. */
  readonly measure?: Element;
}

export class Meeting extends Emitter<MeetingEvents> {
  #state: MeetingState = { phase: "idle" };
  #self: SelfView = {
    participantId: participantId(""),
    userId: 0,
    name: "",
    role: "participant",
    connected: false,
    joinedAt: new Date(0),
  };
  #participants: ReadonlyMap<string, ParticipantView> = new Map();
  #speakers: readonly string[] = [];
  #soundBlocked = false;
  #places: readonly (PlaceView | null)[] = [];
  #spotlightUsers: readonly number[] = [];
  #spotlight: readonly string[] = [];
  #missingCodecs: MissingCodecs = { video: false, audio: false };
  #encryption: EncryptionState;
  /** Only for encrypted meetings: 50 ms of work must not stop pictures and sound. */
  #crypto: Worker | undefined;
  readonly #worker: Worker;
  readonly #sound: Sound;
  readonly #tileSizes: TileSizes;
  /** The streams of the canvases. */
  readonly #canvases = new Map<number, string>();
  readonly #muted: Record<SourceKind, boolean> = {
    microphone: false,
    camera: false,
    screen: false,
  };
  readonly #published = new Set<SourceKind>();
  readonly #stopVideo = new Map<VideoKind, () => void>();
  readonly #watching = new Map<SourceKind, () => void>();
  readonly #statsWaiting = new Map<number, (stats: MeetingStats) => void>();
  #joining: { resolve: () => void; reject: (error: JoinError) => void } | undefined;
  #leaving: (() => void) | undefined;
  #nextId = 1;
  readonly #onOnline = () => {
    this.#post({ type: "hurry" });
  };
  readonly #onVisibility = () => {
    this.#post({ type: "hidden", hidden: document.visibilityState === "hidden" });
  };

  constructor(access: MeetingAccess, options: MeetingOptions = {}) {
    super();
    this.#encryption = { kind: access.encrypted ? "waiting" : "transport" };
    this.#worker = new Worker(new URL("./worker/main.ts", import.meta.url), {
      type: "module",
      name: "darktower-media",
    });
    this.#worker.onmessage = (event: MessageEvent<FromWorker>) => {
      this.#take(event.data);
    };
    this.#worker.onerror = () => {
      this.#joinFailed(new JoinError("failed", "the media worker could not be started"));
    };
    this.#sound = new Sound(
      (message, transfer) => {
        this.#post(message, transfer);
      },
      (blocked) => {
        if (blocked === this.#soundBlocked) return;
        this.#soundBlocked = blocked;
        this.emit("soundBlocked", blocked);
      },
    );
    this.#tileSizes = new TileSizes((id, size) => {
      const streamId = this.#canvases.get(id);
      if (streamId !== undefined) this.#post({ type: "tile", streamId, id, size });
    });
    const { resumeToken } = options;
    this.#post({ type: "init", access, resumeToken, webTransportFailedAt: recallNetwork() });
    globalThis.addEventListener("online", this.#onOnline);
    document.addEventListener("visibilitychange", this.#onVisibility);
    if (document.visibilityState === "hidden") this.#onVisibility();
  }

  get state(): MeetingState {
    return this.#state;
  }

  get self(): SelfView {
    return this.#self;
  }

  /** All others, by participant id. */
  get participants(): ReadonlyMap<string, ParticipantView> {
    return this.#participants;
  }

  /** Participant ids, loudest first. */
  get speakers(): readonly string[] {
    return this.#speakers;
  }

  /** How the meeting is protected at this moment. */
  get encryption(): EncryptionState {
    return this.#encryption;
  }

  /** Who has which place of the layout, in reading order; null: nobody. */
  get places(): readonly (PlaceView | null)[] {
    return this.#places;
  }

  /** Participant ids of whom the host put before everybody, first place first. */
  get spotlight(): readonly string[] {
    return this.#spotlight;
  }

  /** Whether nobody here sends what this browser decodes. */
  get missingCodecs(): MissingCodecs {
    return this.#missingCodecs;
  }

  /** Opens sessions and prepares codecs and sound ahead of the join. */
  warm(): void {
    if (missingFeatures().length > 0) return;
    this.#sound.prepare();
    this.#post({ type: "warm" });
  }

  /**
   * Takes a seat; call it in the user's gesture, so that sound may begin.
   * Rejects with a {@link JoinError}.
   */
  join(options: JoinOptions): Promise<void> {
    const pressedAt = performance.timeOrigin + performance.now();
    const missing = missingFeatures();
    if (missing.length > 0) {
      return Promise.reject(
        new JoinError("unsupported", `this browser lacks ${missing.join(", ")}`),
      );
    }
    if (this.#state.phase !== "idle") {
      return Promise.reject(new JoinError("failed", "this meeting was joined before"));
    }
    this.#state = { phase: "connecting" };
    this.emit("state", this.#state);
    this.#sound.resume();
    this.#muted.microphone = options.micMuted ?? false;
    this.#muted.camera = options.cameraMuted ?? false;
    const joined = new Promise<void>((resolve, reject) => {
      this.#joining = { resolve, reject };
    });
    if (options.microphone) this.setMicrophone(options.microphone);
    if (options.camera) this.setCamera(options.camera);
    this.#post({ type: "join", name: options.name, pressedAt });
    return joined;
  }

  /** Another microphone, or none. The stream stays published. */
  setMicrophone(track: MediaStreamTrack | null): void {
    this.#watch("microphone", track);
    if (track !== null) this.#publish("microphone", track);
    this.#sound.setMicrophone(track);
  }

  /** Another camera, or none. The stream stays published. */
  setCamera(track: MediaStreamTrack | null): void {
    this.#setVideo("camera", track);
  }

  setMuted(kind: "microphone" | "camera", muted: boolean): void {
    this.#muted[kind] = muted;
    this.#post({ type: "mute", kind, muted });
  }

  startScreen(track: MediaStreamTrack): void {
    this.#setVideo("screen", track);
  }

  stopScreen(): void {
    this.#setVideo("screen", null);
    if (this.#published.delete("screen")) this.#post({ type: "unpublish", kind: "screen" });
  }

  /** Resolves to false where the browser cannot choose a speaker. */
  setSpeaker(deviceId: string): Promise<boolean> {
    return this.#sound.setSpeaker(deviceId);
  }

  setLayout(layout: MeetingLayout): void {
    this.#post({ type: "layout", layout });
  }

  /** Bits per second of all media together that are received at most; 0: no limit. */
  setReceiveLimit(bitsPerSecond: number): void {
    this.#post({ type: "receive-limit", bitsPerSecond });
  }

  /** Hosts only: whom everybody is to see first, at most 9; nobody ends it. */
  setSpotlight(participantIds: readonly string[]): void {
    this.#post({ type: "spotlight", participantIds });
  }

  /**
   * Has a stream drawn on this canvas, which is the worker's from here on: one
   * canvas element an attachment. What is around it says how large a picture is
   * worth receiving. Gives what ends it.
   */
  attachCanvas(
    streamId: string,
    canvas: HTMLCanvasElement,
    { measure = canvas.parentElement ?? canvas }: CanvasOptions = {},
  ): () => void {
    const id = this.#nextId++;
    const offscreen = canvas.transferControlToOffscreen();
    this.#post({ type: "attach", streamId, id, canvas: offscreen }, [offscreen]);
    this.#canvases.set(id, streamId);
    this.#tileSizes.watch(id, measure);
    return () => {
      this.#tileSizes.unwatch(id);
      this.#canvases.delete(id);
      this.#post({ type: "detach", streamId, id });
    };
  }

  /** Hosts only. */
  removeParticipant(id: string): void {
    this.#post({ type: "remove", participantId: id });
  }

  /** Hosts only: ends the meeting for all. */
  endMeeting(): void {
    this.#post({ type: "end-meeting" });
  }

  /** Asks for new keys for everybody; the server grants it every ten seconds. */
  rotateKeys(): void {
    this.#post({ type: "rotate-keys" });
  }

  /** Resolves when it is over; the meeting is of no use after it. */
  leave(): Promise<void> {
    if (this.#state.phase === "ended") return Promise.resolve();
    return new Promise((resolve) => {
      this.#leaving = resolve;
      this.#post({ type: "leave" });
    });
  }

  /** Rejects when the meeting is over. */
  stats(): Promise<MeetingStats> {
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#statsWaiting.delete(id);
        reject(new Error("the meeting is over"));
      }, STATS_TIMEOUT_MS);
      this.#statsWaiting.set(id, (stats) => {
        clearTimeout(timer);
        resolve({ ...stats, audioOutput: this.#sound.state });
      });
      this.#post({ type: "stats", id });
    });
  }

  // ---- inside ---------------------------------------------------------------

  #post(message: ToWorker, transfer: Transferable[] = []): void {
    this.#worker.postMessage(message, transfer);
  }

  #take(message: FromWorker): void {
    switch (message.type) {
      case "state":
        this.#setState(message.state);
        return;
      case "roster":
        this.#self = message.self;
        this.#participants = new Map(message.participants.map((one) => [one.participantId, one]));
        this.emit("participants", this.#participants);
        this.#findSpotlight();
        return;
      case "speakers":
        this.#speakers = message.participantIds;
        this.emit("speakers", this.#speakers);
        return;
      case "joined":
        this.emit("joined", message.participant);
        return;
      case "left":
        this.emit("left", { participant: message.participant, reason: message.reason });
        return;
      case "join-done":
        this.#joining?.resolve();
        this.#joining = undefined;
        return;
      case "join-failed":
        this.#joinFailed(new JoinError(message.reason, message.message));
        return;
      case "resume-token":
        this.emit("resumeToken", message.token);
        return;
      case "crypto-wanted":
        this.#startCrypto();
        return;
      case "encryption":
        this.#encryption = message.state;
        this.emit("encryption", message.state);
        return;
      case "title":
        this.emit("title", message.title);
        return;
      case "places":
        this.#places = message.places;
        this.emit("places", message.places);
        return;
      case "spotlight":
        this.#spotlightUsers = message.userIds;
        this.#findSpotlight();
        return;
      case "missing-codecs":
        this.#missingCodecs = message.missing;
        this.emit("missingCodecs", message.missing);
        return;
      case "network":
        rememberNetwork(message.webTransportFailedAt);
        return;
      case "stats":
        this.#statsWaiting.get(message.id)?.(message.stats);
        this.#statsWaiting.delete(message.id);
    }
  }

  /** The spotlight names people by their numbers; who is not here is left out. */
  #findSpotlight(): void {
    const everybody = [this.#self, ...this.#participants.values()];
    const found = this.#spotlightUsers.flatMap((userId) =>
      everybody.filter((one) => one.userId === userId).map((one) => one.participantId),
    );
    if (found.join() === this.#spotlight.join()) return;
    this.#spotlight = found;
    this.emit("spotlight", found);
  }

  #startCrypto(): void {
    if (this.#crypto !== undefined) return;
    const failed = (): void => {
      this.#post({ type: "crypto-failed", message: "the crypto worker could not be started" });
    };
    try {
      this.#crypto = new Worker(new URL("../../crypto/src/worker/main.ts", import.meta.url), {
        type: "module",
        name: "darktower-crypto",
      });
    } catch {
      failed();
      return;
    }
    this.#crypto.onerror = failed;
    const { port1, port2 } = new MessageChannel();
    const start: StartCrypto = { type: "start", port: port1, origin: location.origin };
    this.#crypto.postMessage(start, [port1]);
    this.#post({ type: "crypto", port: port2 }, [port2]);
  }

  #setState(state: MeetingState): void {
    this.#state = state;
    if (state.phase === "ended") this.#dispose();
    this.emit("state", state);
    if (state.phase !== "ended") return;
    this.#joining?.reject(new JoinError("failed", "left before the join was done"));
    this.#joining = undefined;
    this.#leaving?.();
  }

  #joinFailed(error: JoinError): void {
    const joining = this.#joining;
    this.#joining = undefined;
    this.#setState({ phase: "ended", reason: "failed" });
    joining?.reject(error);
  }

  #dispose(): void {
    globalThis.removeEventListener("online", this.#onOnline);
    document.removeEventListener("visibilitychange", this.#onVisibility);
    this.#tileSizes.close();
    for (const stop of this.#stopVideo.values()) stop();
    for (const unwatch of this.#watching.values()) unwatch();
    this.#stopVideo.clear();
    this.#watching.clear();
    this.#sound.close();
    setTimeout(() => {
      this.#worker.terminate();
      this.#crypto?.terminate();
    }, FAREWELL_MS);
  }

  #setVideo(kind: VideoKind, track: MediaStreamTrack | null): void {
    this.#watch(kind, track);
    this.#stopVideo.get(kind)?.();
    this.#stopVideo.delete(kind);
    if (track === null) return;
    this.#publish(kind, track);
    const stop = startVideo(kind, track, (message, transfer) => {
      this.#post(message, transfer);
    });
    this.#stopVideo.set(kind, stop);
  }

  #publish(kind: SourceKind, track: MediaStreamTrack): void {
    if (this.#published.has(kind)) return;
    this.#published.add(kind);
    const { width = 0, height = 0 } = track.getSettings();
    const info: SourceInfo = { muted: this.#muted[kind], width, height };
    this.#post({ type: "publish", kind, info });
  }

  /** Reports a track that ends by itself; stopping it here fires no event. */
  #watch(kind: SourceKind, track: MediaStreamTrack | null): void {
    this.#watching.get(kind)?.();
    this.#watching.delete(kind);
    if (track === null) return;
    const ended = () => {
      if (kind === "screen") this.stopScreen();
      this.emit("trackEnded", kind);
    };
    track.addEventListener("ended", ended);
    this.#watching.set(kind, () => {
      track.removeEventListener("ended", ended);
    });
  }
}
