// What one can do about a person, in the menu of their tile and in the list of
// people.
import EyeOff from "@lucide/svelte/icons/eye-off";
import Pin from "@lucide/svelte/icons/pin";
import PinOff from "@lucide/svelte/icons/pin-off";
import Spotlight from "@lucide/svelte/icons/spotlight";
import type { Item } from "../controls/items";
import type { Room } from "../meeting/room.svelte";
import { SELF_KEY, type Tile } from "./tiles";
import { texts } from "../texts";

/** As many people as the server takes. */
const SPOTLIGHT_MAX = 9;

export function tileItems(room: Room, tile: Tile): readonly Item[] {
  const t = texts.meeting;
  const { participant, kind, key } = tile;
  const name = tile.self
    ? t.you
    : kind === "screen"
      ? t.screenOf(participant.name)
      : participant.name;
  const items: Item[] = [];
  if (!tile.self || !room.selfHidden) {
    const pinned = room.pinned === key;
    items.push({
      label: pinned ? t.unpin(name) : t.pin(name),
      icon: pinned ? PinOff : Pin,
      testid: "tile-pin",
      act: () => room.togglePin(key),
    });
  }
  if (room.isHost) items.push(...spotlightItems(room, tile));
  if (key === SELF_KEY && room.others.length > 0) {
    const hidden = room.selfHidden;
    items.push({
      label: hidden ? t.showSelf : t.hideSelf,
      icon: EyeOff,
      testid: "tile-hide",
      act: () => void (room.selfHidden = !hidden),
    });
  }
  return items;
}

function spotlightItems(room: Room, { participant, self }: Tile): readonly Item[] {
  const t = texts.spotlight;
  const { spotlight } = room;
  const { participantId, name } = participant;
  if (spotlight.includes(participantId)) {
    const others = spotlight.filter((id) => id !== participantId);
    return [
      {
        label: self ? t.takeSelf : t.take(name),
        icon: Spotlight,
        testid: "spotlight-off",
        act: () => room.setSpotlight(others),
      },
    ];
  }
  const items: Item[] = [
    {
      label: self ? t.putSelf : t.put(name),
      icon: Spotlight,
      testid: "spotlight-on",
      act: () => room.setSpotlight([participantId]),
    },
  ];
  if (spotlight.length > 0 && spotlight.length < SPOTLIGHT_MAX) {
    items.push({
      label: self ? t.addSelf : t.add(name),
      icon: Spotlight,
      testid: "spotlight-add",
      act: () => room.setSpotlight([...spotlight, participantId]),
    });
  }
  return items;
}
