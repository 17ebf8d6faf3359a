// A meeting through the SDK alone, driven from outside by the runner: the
// smallest page that can be in one.
import {
  Meeting,
  createMeeting,
  getGuestAccess,
  type MeetingAccess,
  type MeetingStats,
  type ParticipantView,
} from "../src";

let meeting: Meeting | undefined;
const log: string[] = [];
const attached = new Map<string, HTMLCanvasElement>();

function show(participants: ReadonlyMap<string, ParticipantView>): void {
  for (const one of participants.values()) {
    for (const stream of [one.camera, one.screen]) {
      if (stream === undefined || attached.has(stream.streamId)) continue;
      const canvas = document.createElement("canvas");
      document.querySelector("#tiles")?.append(canvas);
      attached.set(stream.streamId, canvas);
      meeting?.attachCanvas(stream.streamId, canvas);
    }
  }
}

async function open(code: string | null, resumeToken?: string): Promise<string> {
  const access: MeetingAccess = code === null ? await createMeeting() : await getGuestAccess(code);
  meeting = new Meeting(access, resumeToken === undefined ? {} : { resumeToken });
  meeting.on("state", (state) => log.push(`state ${JSON.stringify(state)}`));
  meeting.on("joined", (who) => log.push(`joined ${who.name}`));
  meeting.on("left", ({ participant, reason }) => log.push(`left ${participant.name} ${reason}`));
  meeting.on("participants", show);
  meeting.on("resumeToken", (token) => sessionStorage.setItem("resume", token));
  meeting.warm();
  return access.code;
}

async function join(name: string, width = 320, height = 180): Promise<void> {
  const media = await navigator.mediaDevices.getUserMedia({
    video: { width, height, frameRate: 15 },
    audio: true,
  });
  const camera = media.getVideoTracks()[0] ?? null;
  const microphone = media.getAudioTracks()[0] ?? null;
  await meeting?.join({ name, camera, microphone });
}

async function stats(): Promise<MeetingStats | undefined> {
  return meeting?.stats();
}

/** A few pixels of each remote canvas: they change when video moves. */
function pixels(): string[] {
  return [...attached.values()].map((canvas) => {
    const copy = document.createElement("canvas");
    copy.width = 16;
    copy.height = 9;
    const context = copy.getContext("2d");
    context?.drawImage(canvas, 0, 0, 16, 9);
    return context?.getImageData(0, 0, 16, 9).data.join() ?? "";
  });
}

Object.assign(globalThis, {
  sdk: {
    open,
    join,
    stats,
    pixels,
    log,
    resumeToken: () => sessionStorage.getItem("resume"),
    participants: () => [...(meeting?.participants.values() ?? [])],
    self: () => meeting?.self,
    state: () => meeting?.state,
    leave: () => meeting?.leave(),
    mute: (kind: "microphone" | "camera", muted: boolean) => meeting?.setMuted(kind, muted),
    remove: (id: string) => meeting?.removeParticipant(id),
    end: () => meeting?.endMeeting(),
    layout: (rows: number, columns: number) => meeting?.setLayout({ kind: "grid", rows, columns }),
    screen: async () => {
      const media = await navigator.mediaDevices.getDisplayMedia({ video: true });
      const track = media.getVideoTracks()[0];
      if (track !== undefined) meeting?.startScreen(track);
    },
    stopScreen: () => meeting?.stopScreen(),
  },
});
