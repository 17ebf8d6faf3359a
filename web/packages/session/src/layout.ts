// What is asked for to be seen and heard, as the wire says it: places in reading
// order with this client's numbers for them, and slots for the sound of others.
import { create } from "@bufbuild/protobuf";
import { LayoutSchema, type Layout } from "@darktower/protocol";
import type { MeetingLayout, PlaceView } from "./api";
import type { Assignment } from "./assignments";

/** Pictures at once at most. */
export const VIDEO_SLOTS_MAX = 49;
/** Others heard at once. */
const AUDIO_SLOTS = 8;
const AUDIO_SLOT_FIRST = 0x1_0000;
const VIDEO_SLOT_FIRST = 1;
/** Of the wire, for rows, columns and the strip. */
const SIDE_MAX = 256;
const STRIP_MAX = 255;

export const LAYOUT_AT_FIRST: MeetingLayout = { kind: "grid", rows: 3, columns: 3 };

/** Places of a layout, with what is above the limits cut off. */
export function placesOf(layout: MeetingLayout): number {
  const places =
    layout.kind === "grid"
      ? side(layout.rows) * side(layout.columns)
      : 1 + Math.min(Math.max(0, Math.floor(layout.strip)), STRIP_MAX);
  return Math.min(places, VIDEO_SLOTS_MAX);
}

export function wireLayout(layout: MeetingLayout): Layout {
  const { pinned = [], excluded = [], includeSelf = false, preferVideo = false } = layout;
  return create(LayoutSchema, {
    kind:
      layout.kind === "grid"
        ? { case: "grid", value: { rows: side(layout.rows), columns: side(layout.columns) } }
        : { case: "speaker", value: { strip: placesOf(layout) - 1 } },
    videoSlots: Array.from({ length: placesOf(layout) }, (_, i) => VIDEO_SLOT_FIRST + i),
    audioSlots: Array.from({ length: AUDIO_SLOTS }, (_, i) => AUDIO_SLOT_FIRST + i),
    pinnedUserIds: pinned.map(BigInt),
    excludedUserIds: excluded.map(BigInt),
    includeSelf,
    preferVideoOverAudio: preferVideo,
  });
}

/** Who has the places of a layout, in reading order. */
export function placesFrom(
  layout: MeetingLayout,
  assignments: Iterable<Assignment>,
): (PlaceView | null)[] {
  const places = Array.from({ length: placesOf(layout) }, (): PlaceView | null => null);
  for (const { slot, kind, streamId, participantId, userId } of assignments) {
    const at = slot - VIDEO_SLOT_FIRST;
    if (kind === "microphone" || at < 0 || at >= places.length) continue;
    places[at] = { streamId, participantId, userId: Number(userId), kind };
  }
  return places;
}

function side(count: number): number {
  return Math.min(Math.max(1, Math.floor(count)), SIDE_MAX);
}
