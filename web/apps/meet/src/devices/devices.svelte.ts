// The camera, microphone and speaker of this page: which are there, which is
// used, whether it is on, and what stands in the way. Lobby and meeting share one
// instance. Tracks are handed on as they are; no frame passes through here.
import { createContext } from "svelte";
import { deviceStore } from "../app/storage";
import { loadChoices, pictureOf, saveChoices, type Choices } from "./choices";
import { problemOf, type DeviceKind, type Problem } from "./problems";

export interface Choice {
  readonly id: string;
  readonly label: string;
}

/** One camera or microphone. */
export class Device {
  readonly kind: DeviceKind;
  /** The live track, or `null` while off, starting or failed. */
  track = $state.raw<MediaStreamTrack | null>(null);
  /** What the person wants: sending or not. */
  on = $state(true);
  problem = $state.raw<Problem | null>(null);
  starting = $state(false);
  choices = $state.raw<readonly Choice[]>([]);
  /** The device chosen by hand; empty for the system's own choice. */
  chosen = $state("");
  /** The device in use, known once a track is there. */
  readonly used = $derived(this.track?.getSettings().deviceId ?? this.chosen);
  /** On and able to send. */
  readonly sending = $derived(this.on && this.track !== null);

  #turn = 0;

  constructor(kind: DeviceKind, chosen: string) {
    this.kind = kind;
    this.chosen = chosen;
  }

  /** Takes over a track, or the failure to get one. */
  settle(result: MediaStreamTrack | Problem, onEnded: () => void): void {
    this.starting = false;
    this.stop();
    if (typeof result === "string") {
      this.problem = result;
      return;
    }
    this.problem = null;
    this.track = result;
    result.addEventListener("ended", () => {
      // Unplugged or withdrawn: not ended by us, who never hear this event.
      if (this.track !== result) return;
      this.track = null;
      onEnded();
    });
  }

  /** Lets go of the device: its light goes out. */
  stop(): void {
    const track = this.track;
    this.track = null;
    track?.stop();
  }

  /** A ticket for one attempt to open the device; only the latest one counts. */
  beginTurn(): () => boolean {
    const mine = ++this.#turn;
    this.starting = true;
    return () => mine === this.#turn;
  }

  /** Makes attempts under way count for nothing. */
  cancelTurns(): void {
    this.#turn++;
    this.starting = false;
  }
}

/** All devices of the page: `start` when they are needed, `release` when no longer. */
export class Devices {
  readonly camera: Device;
  readonly microphone: Device;
  speakers = $state.raw<readonly Choice[]>([]);
  speaker = $state("");
  saveData = $state(false);
  /** The browser is asking the person. */
  asking = $state(false);
  readonly bothRefused = $derived.by(
    () => this.camera.problem === "refused" && this.microphone.problem === "refused",
  );

  #inUse = false;
  #watching = false;

  constructor() {
    const choices = loadChoices(deviceStore);
    this.camera = new Device("camera", choices.camera);
    this.microphone = new Device("microphone", choices.microphone);
    this.speaker = choices.speaker;
    this.saveData = choices.saveData;
  }

  /** Asks for what is wanted, in one question, and watches for changes. */
  async start(): Promise<void> {
    this.#inUse = true;
    this.#watch();
    const wanted = [this.camera, this.microphone].filter((d) => d.on && d.track === null);
    if (wanted.length === 2) await this.#openBoth();
    else await Promise.all(wanted.map((d) => this.open(d)));
  }

  /** Lets go of everything until `start` is called again. */
  release(): void {
    this.#inUse = false;
    for (const device of [this.camera, this.microphone]) {
      device.cancelTurns();
      device.stop();
    }
  }

  /** On or off. A camera that is off is let go; a muted microphone stays open. */
  async toggle(device: Device): Promise<void> {
    if (device.on && device.track === null && device.problem !== null) {
      // Wanted but not there: pressing again means trying again.
      await this.open(device);
      return;
    }
    device.on = !device.on;
    if (!device.on) {
      if (device.kind === "camera") {
        device.cancelTurns();
        device.stop();
      }
      return;
    }
    if (device.track === null) await this.open(device);
  }

  /** Uses another camera or microphone from now on. */
  async choose(device: Device, id: string): Promise<void> {
    device.chosen = id;
    this.#remember();
    if (device.on || device.track !== null) await this.open(device);
  }

  chooseSpeaker(id: string): void {
    this.speaker = id;
    this.#remember();
  }

  async setSaveData(on: boolean): Promise<void> {
    this.saveData = on;
    this.#remember();
    if (this.camera.track !== null) await this.open(this.camera);
  }

  /** Opens one device; its `track` or `problem` tells how that went. */
  async open(device: Device): Promise<void> {
    const current = device.beginTurn();
    const result = await this.#acquire(device);
    if (current() && this.#inUse) this.#settle(device, result);
    else if (typeof result !== "string") result.stop();
    await this.list();
  }

  /** Reads anew which devices there are; their names are known once one was allowed. */
  async list(): Promise<void> {
    const devices = await mediaDevices()
      ?.enumerateDevices()
      .catch(() => []);
    if (devices === undefined) return;
    const of = (kind: MediaDeviceKind): Choice[] =>
      devices
        .filter((d) => d.kind === kind && d.deviceId !== "")
        .map((d) => ({ id: d.deviceId, label: d.label }));
    this.camera.choices = of("videoinput");
    this.microphone.choices = of("audioinput");
    this.speakers = of("audiooutput");
  }

  async #openBoth(): Promise<void> {
    const cameraCurrent = this.camera.beginTurn();
    const microphoneCurrent = this.microphone.beginTurn();
    this.asking = true;
    let stream: MediaStream | null = null;
    try {
      stream =
        (await mediaDevices()?.getUserMedia({
          video: this.#constraints(this.camera),
          audio: this.#constraints(this.microphone),
        })) ?? null;
    } catch {
      // One of the two stands in the way of both: each is tried alone, so that
      // it tells its own reason and the other works.
    } finally {
      this.asking = false;
    }
    if (stream === null) {
      if (cameraCurrent()) await this.open(this.camera);
      if (microphoneCurrent()) await this.open(this.microphone);
      return;
    }
    const tracks: [Device, MediaStreamTrack | undefined, () => boolean][] = [
      [this.camera, stream.getVideoTracks()[0], cameraCurrent],
      [this.microphone, stream.getAudioTracks()[0], microphoneCurrent],
    ];
    for (const [device, track, current] of tracks) {
      if (current()) this.#settle(device, track ?? "none");
      else track?.stop();
    }
    await this.list();
  }

  async #acquire(device: Device): Promise<MediaStreamTrack | Problem> {
    const media = mediaDevices();
    if (media === undefined) return globalThis.isSecureContext ? "failed" : "insecure";
    try {
      const constraints = this.#constraints(device);
      const stream = await media.getUserMedia(
        device.kind === "camera" ? { video: constraints } : { audio: constraints },
      );
      return stream.getTracks()[0] ?? "none";
    } catch (error) {
      return problemOf(error);
    }
  }

  #settle(device: Device, result: MediaStreamTrack | Problem): void {
    device.settle(result, () => {
      // Unplugged: whatever else is there takes over, or the reason is shown.
      if (device.on) void this.open(device);
    });
  }

  #constraints(device: Device): MediaTrackConstraints {
    // `ideal`: a device that is gone must not keep the others from being used.
    const id = device.chosen === "" ? {} : { deviceId: { ideal: device.chosen } };
    if (device.kind === "camera") return { ...id, ...pictureOf(this.saveData) };
    return { ...id, echoCancellation: true, noiseSuppression: true, autoGainControl: true };
  }

  #remember(): void {
    const choices: Choices = {
      camera: this.camera.chosen,
      microphone: this.microphone.chosen,
      speaker: this.speaker,
      saveData: this.saveData,
    };
    saveChoices(deviceStore, choices);
  }

  #watch(): void {
    if (this.#watching) return;
    this.#watching = true;
    mediaDevices()?.addEventListener("devicechange", () => {
      if (!this.#inUse) return;
      void this.list();
      for (const device of [this.camera, this.microphone]) {
        if (device.on && device.problem === "none") void this.open(device);
      }
    });
    for (const device of [this.camera, this.microphone]) void this.#watchPermission(device);
  }

  /** Starts a device by itself once the person allowed it in the browser's settings. */
  async #watchPermission(device: Device): Promise<void> {
    try {
      const permission = await navigator.permissions.query({ name: device.kind });
      permission.addEventListener("change", () => {
        const waiting = this.#inUse && device.on && device.problem === "refused";
        if (permission.state === "granted" && waiting) void this.open(device);
      });
    } catch {
      // A browser that doesn't tell: "Try again" does it by hand.
    }
  }
}

/** Undefined on pages that are not secure, whatever the type says. */
function mediaDevices(): MediaDevices | undefined {
  return (navigator as { mediaDevices?: MediaDevices }).mediaDevices;
}

export const [useDevices, provideDevices] = createContext<Devices>();
