// The meeting as the page draws it: a reactive picture of the SDK's meeting and
// the person's own view of it (pin, hidden tile, sharing). Driven by the SDK's
// events; pictures and sound go from worker to screen and speaker without it.
import type { Alarm, EncryptionState, KeyHolder } from "@darktower/media";
import type {
  MeetingLayout,
  MeetingState,
  MissingCodecs,
  ParticipantView,
  SelfView,
} from "@darktower/session";
import { createContext } from "svelte";
import type { MeetingHandle } from "../app/backend";
import { deviceStore } from "../app/storage";
import { KnownDevices } from "../encryption/known";
import { byParticipant, lockOf, type LockState } from "../encryption/lock";
import { Floor } from "../stage/floor";
import { largeOf, type View } from "../stage/large";
import { loadView, saveView } from "../stage/view";
import { texts } from "../texts";
import { Announcer, isolate } from "./announcer.svelte";
import { SELF_KEY, tileKey, tilesOf, sharesScreen, type Tile } from "../stage/tiles";

export class Room {
  readonly meeting: MeetingHandle;
  readonly announcer = new Announcer();

  phase = $state.raw<MeetingState>({ phase: "idle" });
  self = $state.raw<SelfView>() as SelfView;
  /** Everybody else, as the server names them. */
  #roster = $state.raw<readonly ParticipantView[]>([]);
  speaking = $state.raw<ReadonlySet<string>>(new Set());
  /** Participant ids: who spoke for a while, the latest first, and whose turn it is. */
  spoke = $state.raw<readonly string[]>([]);
  #holder = $state<string | null>(null);
  /** The tile that the person put on the stage. */
  pinned = $state<string | null>(null);
  #choice = $state.raw(loadView(deviceStore));
  /** Participant ids of whom the host put before everybody. */
  spotlight = $state.raw<readonly string[]>([]);
  /** What nobody here sends in a format that this browser knows. */
  missing = $state.raw<MissingCodecs>({ video: false, audio: false });
  /** The page of people that is wanted, and how many there are. */
  page = $state(0);
  pages = $state(1);
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
  /** The tiles on the stage. */
  readonly large: readonly string[] = $derived.by(() => {
    const here = (key: string): boolean => this.tiles.has(key);
    const pinned = this.pinned;
    const own = pinned === SELF_KEY && !this.selfHidden;
    const floor = this.#holder === null ? null : tileKey(this.#holder, "camera");
    return largeOf({
      view: this.view,
      pinned: pinned !== null && (own || here(pinned)) ? pinned : null,
      // Of who shows something, that is what it is about.
      spotlight: this.spotlight
        .map((id) => [tileKey(id, "screen"), tileKey(id, "camera")].find(here))
        .filter((key) => key !== undefined),
      screens: this.#screens.filter(here),
      floor: floor !== null && here(floor) ? floor : null,
      others: this.seated,
    });
  });
  /** Keys of everybody else's tiles: screens first, then who has a picture. */
  readonly seated: readonly string[] = $derived.by(() => {
    const all = [...this.tiles.values()];
    const pictured = ({ kind, stream }: Tile): boolean =>
      kind === "screen" || stream?.muted === false;
    return [...all.filter(pictured), ...all.filter((tile) => !pictured(tile))].map((t) => t.key);
  });
  /** Who put the spotlight on; null where several could have. */
  readonly spotlightHost: string | null = $derived.by(() => {
    const hosts = [this.self, ...this.others].filter((person) => person.role === "host");
    return hosts.length === 1 && hosts[0] !== undefined ? isolate(hosts[0].name) : null;
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
  readonly #floor = new Floor();
  #settling: ReturnType<typeof setTimeout> | undefined;

  constructor(meeting: MeetingHandle, onEnd: (state: MeetingState) => void) {
    this.meeting = meeting;
    this.self = meeting.self;
    this.encryption = meeting.encryption;
    this.spotlight = meeting.spotlight;
    this.missing = meeting.missingCodecs;
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
        this.#floor.forget(participant.participantId, performance.now());
        this.#follow();
        if (reason === "meeting-ended") return;
        this.announcer.person(reason, participant.name);
      }),
      meeting.on("encryption", (state) => this.#protect(state)),
      meeting.on("spotlight", (ids) => this.#light(ids)),
      meeting.on("missingCodecs", (missing) => (this.missing = missing)),
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

  get view(): View {
    return this.#choice.view;
  }

  get selfHidden(): boolean {
    return this.#choice.selfHidden;
  }

  /** Shown to the person themselves; the others see them as before. */
  set selfHidden(selfHidden: boolean) {
    this.#choice = { ...this.#choice, selfHidden };
    saveView(deviceStore, this.#choice);
    if (selfHidden && this.pinned === SELF_KEY) this.pinned = null;
  }

  /** Grid or speaker, whichever it is not. What was pinned gives way to it. */
  switchView(): void {
    const view = this.view === "grid" ? "speaker" : "grid";
    this.#choice = { ...this.#choice, view };
    saveView(deviceStore, this.#choice);
    this.pinned = null;
    this.page = 0;
    // What is shared or in the spotlight is large in either view.
    const later =
      this.#screens.length > 0 || this.spotlight.some((id) => id !== this.self.participantId);
    const t = texts.meeting;
    this.announcer.say(later ? t.viewLater[view] : t.views[view]);
  }

  /** Shows the next page of people, or the one before; tells which. */
  turnPage(step: 1 | -1): void {
    const page = Math.min(this.page, this.pages - 1) + step;
    if (page < 0 || page >= this.pages) return;
    this.page = page;
    this.announcer.tell(texts.meeting.page(page + 1, this.pages));
  }

  /** The name of anybody here, oneself included. */
  nameOf(id: string): string {
    if (id === this.self.participantId) return this.self.name;
    return this.others.find((person) => person.participantId === id)?.name ?? "";
  }

  togglePin(key: string): void {
    this.pinned = this.pinned === key ? null : key;
  }

  /** Hosts: shows these people large to everybody, and nobody else so. */
  setSpotlight(participantIds: readonly string[]): void {
    this.meeting.setSpotlight(participantIds);
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
    clearTimeout(this.#settling);
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
    const others = ids.filter((id) => id !== this.self.participantId);
    this.#floor.hear(others, performance.now());
    this.#follow();
  }

  /** Takes over what the floor's machine says, and wakes it when it is due. */
  #follow(): void {
    this.spoke = this.#floor.spoke;
    this.#holder = this.#floor.holder;
    clearTimeout(this.#settling);
    const now = performance.now();
    const due = this.#floor.due(now);
    if (due === null) return;
    this.#settling = setTimeout(() => {
      this.#floor.settle(performance.now());
      this.#follow();
    }, due - now);
  }

  /** Tells whom the host put into the spotlight. */
  #light(ids: readonly string[]): void {
    const before = this.spotlight;
    this.spotlight = ids;
    const news = ids.filter((id) => !before.includes(id));
    const t = texts.spotlight;
    if (ids.length === 0 && before.length > 0) this.announcer.say(t.ended);
    if (news.length === 0) return;
    if (this.isHost) this.announcer.say(t.byYou(this.#namesOf(news)));
    else if (news.includes(this.self.participantId)) {
      this.announcer.tell(t.onYou(this.spotlightHost));
    } else this.announcer.say(t.byHost(this.spotlightHost, this.#namesOf(news)));
  }

  /** The names of several people as they stand in a sentence. */
  #namesOf(ids: readonly string[]): string {
    const t = texts.spotlight;
    const own = this.self.participantId;
    return t.list(ids.map((id) => (id === own ? t.yourself : isolate(this.nameOf(id)))));
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

export const [useRoom, provideRoom] = createContext<Room>();
