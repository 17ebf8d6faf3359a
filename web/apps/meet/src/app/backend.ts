// What the app needs of the SDK, so that a test can stand in for it. The page
// hands in the real thing; components get it by context.
import type {
  Meeting,
  MeetingAccess,
  MeetingEvents,
  MeetingOptions,
  createMeeting,
  getGuestAccess,
  getHostAccess,
} from "@darktower/media";
import { createContext } from "svelte";

/** The public side of the SDK's meeting, without its private members. */
export type MeetingHandle = Pick<Meeting, keyof Meeting>;
export type MeetingEvent = keyof MeetingEvents;

export interface Backend {
  readonly createMeeting: typeof createMeeting;
  readonly getGuestAccess: typeof getGuestAccess;
  readonly getHostAccess: typeof getHostAccess;
  openMeeting(access: MeetingAccess, options: MeetingOptions): MeetingHandle;
  /** Whether this browser has what a meeting takes. */
  supported(): boolean;
}

export const [useBackend, provideBackend] = createContext<Backend>();
