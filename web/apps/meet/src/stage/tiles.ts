// What has a place in the window: everybody's camera, and every shared screen.
import type { ParticipantView, StreamView } from "@darktower/session";

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

export const sharesScreen = ({ screen }: ParticipantView): boolean =>
  screen !== undefined && !screen.muted;

export function tilesOf(others: readonly ParticipantView[]): ReadonlyMap<string, Tile> {
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
