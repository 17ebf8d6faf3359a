// The meeting as the page draws it: a reactive picture of the SDK's meeting and
// the person's own view of it (pin, hidden tile, sharing). Driven by the SDK's
// events; pictures and sound go from worker to screen and speaker without it.
import type { Alarm, EncryptionState, KeyHolder } from "@darktower/media";
import type {
  MeetingLayout,
  MeetingState,
  ParticipantView,
  SelfView,
  StreamView,
} from "@darktower/session";
import { createContext } from "svelte";
import type { MeetingHandle } from "../app/backend";
import { deviceStore } from "../app/storage";
import { KnownDevices } from "../encryption/known";
import { byParticipant, lockOf, type LockState } from "../encryption/lock";
import { texts } from "../texts";
import { Announcer } from "./announcer.svelte";

/** Speakers remembered for who gets a place when there are too few. */
const SPEAKERS_REMEMBERED_MAX = 64;

export type TileKind = "camera" | "screen";

/** Something with a place in the window. */
export interface Tile {
  readonly key: string;
  readonly kind: TileKind;
  readonly self: boolean;
  readonly participant: ParticipantView;
  /** What is to be drawn: absent while nothing is published. */
  readonly stream: StreamView | undefined;
}

export const tileKey = (participantId: string, kind: TileKind): string =>
  `${participantId}:${kind}`;
/** One's own tile has a key before the server gave an id. */
export const SELF_KEY = "self:camera";

export class Room {
  readonly meeting: MeetingHandle;
  readonly announcer = new Announcer();

  phase = $state.raw<MeetingState>({ phase: "idle" });
  self = $state.raw<SelfView>() as SelfView;
  /** Everybody else, as the server names them. */
  #roster = $state.raw<readonly ParticipantView[]>([]);
  speaking = $state.raw<ReadonlySet<string>>(new Set());
  /** Participant ids, who spoke last first. */
  spoke = $state.raw<readonly string[]>([]);
  /** The tile that the person put on the stage. */
  pinned = $state<string | null>(null);
  selfHidden = $state(false);
  sharing = $state(false);
  /** The browser holds the sound back until a key or click. */
  soundBlocked = $state(false);
  encryption = $state.raw<EncryptionState>() as EncryptionState;
  /** Known people with a device that is not known, by participant id. */
  flagged = $state.raw<ReadonlySet<string>>(new Set());
  readonly lock: LockState = $derived(lockOf(this.encryption, this.flagged.size));
  readonly alarms: readonly Alarm[] = $derived(
    this.encryption.kind === "end-to-end" ? this.encryption.view.alarms : [],
  );
  /** Those who hold the keys, by participant id. */
  readonly holders: ReadonlyMap<string, KeyHolder> = $derived(
    byParticipant(this.encryption.kind === "end-to-end" ? this.encryption.view.holders : []),
  );
  /** Under the names that they gave themselves, where the server can't change them. */
  readonly others: readonly ParticipantView[] = $derived(
    this.#roster.map((person) => {
      const name = this.holders.get(person.participantId)?.name ?? "";
      return name === "" || name === person.name ? person : { ...person, name };
    }),
  );
  readonly isHost = $derived(this.self.role === "host");
  readonly headcount = $derived(this.others.length + 1);

  /** Everybody else's tiles by key, screens first. */
  readonly tiles: ReadonlyMap<string, Tile> = $derived(tilesOf(this.others));
  /** The tile on the stage: what is pinned, else the screen shared last. */
  readonly stage: string | null = $derived.by(() => {
    if (this.pinned === SELF_KEY && !this.selfHidden) return SELF_KEY;
    if (this.pinned !== null && this.tiles.has(this.pinned)) return this.pinned;
    return this.#screens.findLast((key) => this.tiles.has(key)) ?? null;
  });

  readonly #stops: (() => void)[] = [];
  readonly #known = new KnownDevices(deviceStore);
  /** Keys of shared screens, in the order in which the sharing began. */
  #screens = $state.raw<readonly string[]>([]);
  #camera: MediaStreamTrack | null = null;
  #microphone: MediaStreamTrack | null = null;
  #cameraMuted = true;
  #microphoneMuted = true;
  #layout = "";

  constructor(meeting: MeetingHandle, onEnd: (state: MeetingState) => void) {
    this.meeting = meeting;
    this.self = meeting.self;
    this.encryption = meeting.encryption;
    this.#take();
    this.#stops.push(
      meeting.on("state", (state) => {
        this.phase = state;
        this.self = meeting.self;
        if (state.phase === "ended") onEnd(state);
      }),
      meeting.on("participants", () => this.#take()),
      meeting.on("speakers", (ids) => this.#hear(ids)),
      meeting.on("joined", (who) => {
        if (this.#isNews(who)) this.announcer.person("joined", who.name);
      }),
      meeting.on("left", ({ participant, reason }) => {
        if (reason === "meeting-ended") return;
        this.announcer.person(reason, participant.name);
      }),
      meeting.on("encryption", (state) => this.#protect(state)),
      meeting.on("soundBlocked", (blocked) => (this.soundBlocked = blocked)),
      meeting.on("trackEnded", (kind) => {
        if (kind === "screen") this.sharing = false;
      }),
    );
  }

  /** Joins with what there is of devices; the rest follows by `sync…`. */
  async join(
    name: string,
    camera: { track: MediaStreamTrack | null; on: boolean },
    microphone: { track: MediaStreamTrack | null; on: boolean },
  ): Promise<void> {
    this.#camera = camera.track;
    this.#microphone = microphone.track;
    this.#cameraMuted = !camera.on || camera.track === null;
    this.#microphoneMuted = !microphone.on || microphone.track === null;
    await this.meeting.join({
      name,
      camera: camera.track,
      microphone: microphone.track,
      cameraMuted: this.#cameraMuted,
      micMuted: this.#microphoneMuted,
    });
    this.#take();
  }

  /** Tells the meeting about one's camera; says nothing that it knows already. */
  syncCamera(track: MediaStreamTrack | null, on: boolean): void {
    if (this.phase.phase === "idle") return;
    const muted = !on || track === null;
    // Muted first when it goes, last when it comes: no frame of a dead track.
    if (muted) this.#muteCamera(true);
    if (track !== this.#camera) {
      this.#camera = track;
      this.meeting.setCamera(track);
    }
    if (!muted) this.#muteCamera(false);
  }

  /** Tells the meeting about one's microphone; says nothing that it knows already. */
  syncMicrophone(track: MediaStreamTrack | null, on: boolean): void {
    if (this.phase.phase === "idle") return;
    const muted = !on || track === null;
    if (muted) this.#muteMicrophone(true);
    if (track !== this.#microphone) {
      this.#microphone = track;
      this.meeting.setMicrophone(track);
    }
    if (!muted) this.#muteMicrophone(false);
  }

  /** Asks the server for as many pictures as the window shows. */
  syncLayout(layout: MeetingLayout): void {
    const text = JSON.stringify(layout);
    if (text === this.#layout) return;
    this.#layout = text;
    this.meeting.setLayout(layout);
  }

  togglePin(key: string): void {
    this.pinned = this.stage === key && this.pinned === key ? null : key;
  }

  /** Starts or stops sharing the screen. The browser asks which. */
  async toggleShare(): Promise<void> {
    if (this.sharing) {
      this.stopSharing();
      return;
    }
    try {
      const stream = await navigator.mediaDevices.getDisplayMedia({
        video: { frameRate: { ideal: 15, max: 30 } },
        audio: false,
      });
      const track = stream.getVideoTracks()[0];
      if (track === undefined) return;
      if (this.phase.phase === "ended") {
        track.stop();
        return;
      }
      this.sharing = true;
      this.meeting.startScreen(track);
    } catch (error) {
      // The person thought better of it: nothing to tell.
      if (error instanceof DOMException && error.name === "NotAllowedError") return;
      this.announcer.say(texts.meeting.shareFailed);
    }
  }

  stopSharing(): void {
    this.sharing = false;
    this.meeting.stopScreen();
  }

  /** The person compared the codes: this device is theirs. */
  acceptKey(holder: KeyHolder): void {
    this.#known.accept(holder);
    this.#protect(this.encryption);
  }

  /** Stops listening to the meeting. */
  close(): void {
    for (const stop of this.#stops) stop();
    this.#stops.length = 0;
    this.announcer.stop();
  }

  #muteCamera(muted: boolean): void {
    if (muted === this.#cameraMuted) return;
    this.#cameraMuted = muted;
    this.meeting.setMuted("camera", muted);
  }

  #muteMicrophone(muted: boolean): void {
    if (muted === this.#microphoneMuted) return;
    this.#microphoneMuted = muted;
    this.meeting.setMuted("microphone", muted);
  }

  #take(): void {
    const { self, participants } = this.meeting;
    this.self = self;
    this.phase = this.meeting.state;
    this.#roster = [...participants.values()]
      .filter((p) => p.participantId !== self.participantId)
      .sort((a, b) => a.joinedAt.getTime() - b.joinedAt.getTime() || a.userId - b.userId);
    const shared = new Set(
      this.#roster.filter(sharesScreen).map((p) => tileKey(p.participantId, "screen")),
    );
    this.#screens = [...new Set([...this.#screens.filter((key) => shared.has(key)), ...shared])];
  }

  #protect(state: EncryptionState): void {
    this.encryption = state;
    this.flagged = state.kind === "end-to-end" ? this.#known.meet(state.view.holders) : new Set();
  }

  #hear(ids: readonly string[]): void {
    this.speaking = new Set(ids);
    this.spoke = [...new Set([...ids, ...this.spoke])].slice(0, SPEAKERS_REMEMBERED_MAX);
  }

  /** Who was there before oneself did not just come. */
  #isNews(who: ParticipantView): boolean {
    return (
      this.phase.phase === "joined" &&
      who.participantId !== this.self.participantId &&
      who.joinedAt.getTime() >= this.self.joinedAt.getTime()
    );
  }
}

const sharesScreen = ({ screen }: ParticipantView): boolean =>
  screen !== undefined && !screen.muted;

function tilesOf(others: readonly ParticipantView[]): ReadonlyMap<string, Tile> {
  const tiles = new Map<string, Tile>();
  for (const participant of others.filter(sharesScreen)) {
    const { screen } = participant;
    const key = tileKey(participant.participantId, "screen");
    tiles.set(key, { key, kind: "screen", self: false, participant, stream: screen });
  }
  for (const participant of others) {
    const key = tileKey(participant.participantId, "camera");
    tiles.set(key, { key, kind: "camera", self: false, participant, stream: participant.camera });
  }
  return tiles;
}

export const [useRoom, provideRoom] = createContext<Room>();
