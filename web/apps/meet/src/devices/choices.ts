// What a person chose about devices, kept by the browser for the next meeting.
// Pure but for the storage handed in; anything unreadable counts as nothing chosen.

import type { Store } from "../app/storage";

const STORAGE_KEY = "darktower.devices";

export interface Choices {
  readonly camera: string;
  readonly microphone: string;
  readonly speaker: string;
  /** A smaller picture for slow connections. */
  readonly saveData: boolean;
}

export const NOTHING_CHOSEN: Choices = {
  camera: "",
  microphone: "",
  speaker: "",
  saveData: false,
};

export function parseChoices(stored: string | null): Choices {
  if (stored === null) return NOTHING_CHOSEN;
  let value: unknown;
  try {
    value = JSON.parse(stored);
  } catch {
    return NOTHING_CHOSEN;
  }
  if (typeof value !== "object" || value === null) return NOTHING_CHOSEN;
  const fields = value as Partial<Record<keyof Choices, unknown>>;
  const text = (field: unknown): string => (typeof field === "string" ? field : "");
  return {
    camera: text(fields.camera),
    microphone: text(fields.microphone),
    speaker: text(fields.speaker),
    saveData: fields.saveData === true,
  };
}

export const loadChoices = (storage: Store): Choices => parseChoices(storage.getItem(STORAGE_KEY));

export function saveChoices(storage: Store, choices: Choices): void {
  storage.setItem(STORAGE_KEY, JSON.stringify(choices));
}

/** The picture asked of a camera. 720p is what a full window shows well. */
export function pictureOf(saveData: boolean): MediaTrackConstraints {
  return saveData
    ? { width: { ideal: 320 }, height: { ideal: 180 }, frameRate: { ideal: 15, max: 15 } }
    : { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30, max: 30 } };
}
