// One person's visit to one meeting link: lobby, meeting, end, and back again.
// Owns the SDK's meeting and the access to it; components only ask for steps.
import type { MeetingAccess } from "@darktower/session";
import { createContext } from "svelte";
import type { Backend } from "../app/backend";
import { deviceStore, tabStore } from "../app/storage";
import type { Devices } from "../devices/devices.svelte";
import { endingOf, type Ending } from "../ended/ending";
import { readKey } from "../home/link";
import { loadRecent, saveRecent, withMeeting } from "../home/recent";
import { tidyName } from "../people/names";
import { texts } from "../texts";
import { Room } from "./room.svelte";
import { dropSeat, hostToken, keepHostToken, loadSeat, saveSeat, type Seat } from "./seat";

export type Stage =
  | { readonly name: "lobby" }
  | { readonly name: "meeting"; readonly room: Room | null }
  /** `lastedMs` is 0 for who was never inside. */
  | { readonly name: "ended"; readonly ending: Ending; readonly lastedMs: number };

const NAME_KEY = "darktower.name";
/** Often enough that "who is inside" is no lie, rarely enough to cost nothing. */
const REFRESH_MS = 20_000;
/** A join token that ends sooner than this is not worth starting with. */
const TOKEN_MARGIN_MS = 75_000;
const CHANNEL = "darktower.visit";

export class Visit {
  /** The meeting's code or id, as it stands in the path. */
  readonly key: string;
  stage = $state.raw<Stage>({ name: "lobby" });
  access = $state.raw<MeetingAccess | null>(null);
  name = $state(deviceStore.getItem(NAME_KEY) ?? "");
  readonly link = $derived(this.access?.url ?? location.href);
  readonly title = $derived(
    this.access === null || this.access.displayName === ""
      ? texts.product
      : this.access.displayName,
  );

  readonly #backend: Backend;
  readonly #devices: Devices;
  readonly #channel = new BroadcastChannel(CHANNEL);
  /** Opened ahead of the join; its sessions are warm. */
  #room: Room | null = null;
  #roomAccess: MeetingAccess | null = null;
  #preparing: Promise<Room> | null = null;
  #refresh: ReturnType<typeof setInterval> | undefined;
  #resumeToken = "";
  #enteredAt = 0;
  #joining = false;
  #closed = false;

  constructor(
    key: string,
    backend: Backend,
    devices: Devices,
    /** The answer to creating this meeting, when it was created just now. */
    created: MeetingAccess | null,
  ) {
    this.key = readKey(key) ?? key;
    this.#backend = backend;
    this.#devices = devices;
    this.access = created;
    this.#channel.onmessage = (event: MessageEvent<unknown>) => this.#heard(event.data);
  }

  /** The room of this visit, for diagnostics. */
  get room(): Room | null {
    return this.#room;
  }

  /** Begins: back into the seat that this tab held, or into the lobby. */
  start(): void {
    if (readKey(this.key) === null) {
      this.#end("not-found");
      return;
    }
    if (!this.#backend.supported()) {
      this.#end(isSecureContext ? "unsupported" : "insecure");
      return;
    }
    const seat = loadSeat(tabStore, this.key);
    if (seat === null) this.#enterLobby();
    else void this.#resume(seat);
  }

  /** Joins, whatever is there of devices; they may follow. */
  async join(): Promise<void> {
    this.name = tidyName(this.name);
    deviceStore.setItem(NAME_KEY, this.name);
    clearInterval(this.#refresh);
    this.stage = { name: "meeting", room: this.#room };
    try {
      const room = await this.#prepare();
      if (this.#closed) return;
      this.stage = { name: "meeting", room };
      await this.#joinRoom(room);
    } catch (error) {
      this.#end(endingOf(error));
    }
  }

  /** Back in, with one's devices as they were. */
  async rejoin(): Promise<void> {
    if (this.stage.name !== "ended") return;
    if (this.stage.ending === "replaced") this.#channel.postMessage({ takeOver: this.key });
    void this.#devices.start();
    await this.join();
  }

  /** Another attempt at what did not work: the lobby, with fresh access. */
  retry(): void {
    this.access = null;
    this.#enterLobby();
  }

  /** Leaves the meeting; the others stay. */
  async leave(): Promise<void> {
    const room = this.#room;
    this.#end("left");
    await room?.meeting.leave();
  }

  /** Ends the meeting for everybody. */
  endForAll(): void {
    this.#room?.meeting.endMeeting();
  }

  /** Keeps the seat of this tab up to date with what is on. */
  keepSeat(): void {
    if (this.#resumeToken === "" || this.stage.name !== "meeting") return;
    saveSeat(tabStore, {
      key: this.key,
      resumeToken: this.#resumeToken,
      name: this.name,
      microphoneOn: this.#devices.microphone.on,
      cameraOn: this.#devices.camera.on,
    });
  }

  /** The person goes elsewhere in the app. */
  close(): void {
    this.#closed = true;
    clearInterval(this.#refresh);
    this.#channel.close();
    const room = this.#takeRoom();
    dropSeat(tabStore);
    this.#devices.release();
    void room?.meeting.leave();
  }

  #enterLobby(): void {
    this.stage = { name: "lobby" };
    void this.#devices.start();
    void this.#ready();
    clearInterval(this.#refresh);
    this.#refresh = setInterval(() => {
      if (document.visibilityState === "visible") void this.#refreshAccess();
    }, REFRESH_MS);
  }

  /** Gets access and warms the sessions up; a failure is the visit's end. */
  async #ready(): Promise<void> {
    try {
      const room = await this.#prepare();
      if (!this.#closed && this.stage.name === "lobby") room.meeting.warm();
    } catch (error) {
      if (this.stage.name === "lobby") this.#end(endingOf(error));
    }
  }

  async #refreshAccess(): Promise<void> {
    if (this.stage.name !== "lobby") return;
    try {
      this.access = await this.#getAccess();
    } catch {
      // The count stays as it was; joining tells what is the matter.
      return;
    }
    if (this.#roomAccess !== null && staleAccess(this.#roomAccess)) await this.#ready();
  }

  /** The room to join, opened once; anew when its join token runs out. */
  #prepare(): Promise<Room> {
    if (this.#room !== null && this.#roomAccess !== null && !staleAccess(this.#roomAccess)) {
      return Promise.resolve(this.#room);
    }
    this.#preparing ??= this.#open(null).finally(() => {
      this.#preparing = null;
    });
    return this.#preparing;
  }

  async #open(resumeToken: string | null): Promise<Room> {
    let access = this.access;
    if (access === null || staleAccess(access)) access = await this.#getAccess();
    this.access = access;
    const former = this.#takeRoom();
    void former?.meeting.leave();
    if (access.hostToken !== undefined) keepHostToken(deviceStore, access.code, access.hostToken);
    const meeting = this.#backend.openMeeting(access, resumeToken === null ? {} : { resumeToken });
    const room = new Room(meeting, (state) => {
      // While joining, the join's own error says more than the state.
      if (state.phase !== "ended" || this.#joining || this.#room !== room) return;
      this.#end(state.reason);
    });
    meeting.on("resumeToken", (token) => {
      this.#resumeToken = token;
      this.keepSeat();
    });
    meeting.on("title", (title) => {
      if (this.access !== null && this.access.displayName !== title) {
        this.access = { ...this.access, displayName: title };
      }
    });
    this.#room = room;
    this.#roomAccess = access;
    if (this.#closed) void this.#takeRoom()?.meeting.leave();
    return room;
  }

  async #getAccess(): Promise<MeetingAccess> {
    const token = hostToken(deviceStore, this.access?.code ?? this.key);
    if (token !== null) {
      try {
        return await this.#backend.getHostAccess(this.key, token);
      } catch (error) {
        if (endingOf(error) !== "unauthorized") throw error;
        // The token outlived its meeting or its key: a guest like everybody.
        keepHostToken(deviceStore, this.key, null);
      }
    }
    return this.#backend.getGuestAccess(this.key);
  }

  async #joinRoom(room: Room): Promise<void> {
    const { camera, microphone } = this.#devices;
    if (this.#devices.speaker !== "") void room.meeting.setSpeaker(this.#devices.speaker);
    this.#joining = true;
    try {
      await room.join(this.name === "" ? texts.lobby.guest : this.name, camera, microphone);
    } finally {
      this.#joining = false;
    }
    this.#enteredAt = Date.now();
    this.keepSeat();
    const { access } = this;
    if (access === null) return;
    const meeting = { code: access.code, title: access.displayName, at: Date.now() };
    saveRecent(deviceStore, withMeeting(loadRecent(deviceStore), meeting));
  }

  async #resume(seat: Seat): Promise<void> {
    this.name = seat.name;
    this.#devices.microphone.on = seat.microphoneOn;
    this.#devices.camera.on = seat.cameraOn;
    this.stage = { name: "meeting", room: null };
    void this.#devices.start();
    try {
      const room = await this.#open(seat.resumeToken);
      if (this.#closed) return;
      this.stage = { name: "meeting", room };
      await this.#joinRoom(room);
    } catch (error) {
      const ending = endingOf(error);
      dropSeat(tabStore);
      // A seat that is no longer kept: as anybody who comes with the link.
      if (ending === "unauthorized") {
        void this.#takeRoom()?.meeting.leave();
        this.#enterLobby();
      } else this.#end(ending);
    }
  }

  #end(ending: Ending): void {
    if (this.stage.name === "ended" || this.#closed) return;
    clearInterval(this.#refresh);
    const lastedMs = this.#enteredAt === 0 ? 0 : Date.now() - this.#enteredAt;
    this.#enteredAt = 0;
    this.#resumeToken = "";
    dropSeat(tabStore);
    const room = this.#takeRoom();
    if (room !== null && ending !== "left") void room.meeting.leave();
    this.#devices.release();
    this.stage = { name: "ended", ending, lastedMs };
  }

  /** Lets go of the room: its events no longer count. */
  #takeRoom(): Room | null {
    const room = this.#room;
    this.#room = null;
    this.#roomAccess = null;
    room?.close();
    return room;
  }

  /** Another tab of this browser takes the meeting over. */
  #heard(message: unknown): void {
    if (typeof message !== "object" || message === null || !("takeOver" in message)) return;
    if (message.takeOver === this.key && this.stage.name === "meeting") this.#end("replaced");
  }
}

const staleAccess = (access: MeetingAccess): boolean =>
  access.expiresAt.getTime() - Date.now() < TOKEN_MARGIN_MS;

export const [useVisit, provideVisit] = createContext<Visit>();
