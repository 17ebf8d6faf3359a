// Every text a person reads, in one catalogue. Another language is another object
// of the type `Texts`; `lang` and `dir` go to the page's root element with it.
// Plain sentences: what happened, and what to do.

const count = new Intl.PluralRules("en");
const people = (n: number): string =>
  count.select(n) === "one" ? "1 person" : `${String(n)} people`;
const more = (n: number): string => (count.select(n) === "one" ? "1 other" : `${String(n)} others`);

/** A name that nobody vouches for: in quotes, and together whatever its direction. */
const claimed = (name: string): string =>
  name === "" ? "a name that can’t be read" : `the name “\u2068${name}\u2069”`;

export const english = {
  lang: "en",
  dir: "ltr" as "ltr" | "rtl",
  product: "Dark Tower",

  home: {
    title: "Dark Tower: video meetings",
    headline: "Meet face to face.",
    promise: "Start a meeting and send the link. Nothing to install, no account.",
    newMeeting: "New meeting",
    starting: "Starting…",
    or: "or join one",
    joinLabel: "Link or code of a meeting",
    joinPlaceholder: "Paste a link or code",
    join: "Join",
    notAnInvitation: "That is neither a meeting link nor a code like abcde-fghjk-mnpqr.",
    failed: {
      unreachable: "We can’t reach the server. Check your connection, then try again.",
      signIn: "This server asks you to sign in before you start a meeting.",
      busy: "Too many meetings were started from here. Wait a minute, then try again.",
      full: "The server can’t take another meeting just now. Try again in a minute.",
      other: "The meeting could not be started. Try again.",
    },
    recent: "Recent meetings",
    recentHint: "Kept on this device only",
    forget: (title: string) => `Forget ${title}`,
    forgetAll: "Forget all",
  },

  lobby: {
    title: (name: string) => `${name}: ready to join?`,
    headline: "Ready to join?",
    name: "Your name",
    namePlaceholder: "How others see you",
    guest: "Guest",
    join: "Join now",
    inside: (n: number) => (n === 0 ? "Nobody is here yet" : `${people(n)} in the meeting`),
    looking: "Looking up the meeting…",
    invite: "Invite others",
    back: "Home",
    preview: "Your picture, as you see yourself",
    cameraOff: "Your camera is off",
    cameraStarting: "Your camera is starting…",
    permission: "Allow your camera and microphone so that others see and hear you.",
    meter: "Microphone level",
    transport: "Encrypted on the way to and from the server",
    endToEnd: "End-to-end encrypted: only the people in the meeting see and hear it",
  },

  devices: {
    camera: "Camera",
    microphone: "Microphone",
    speaker: "Speaker",
    system: "System default",
    none: { camera: "No camera", microphone: "No microphone", speaker: "System default" },
    unnamed: { camera: "Camera", microphone: "Microphone", speaker: "Speaker" },
    turnOnCamera: "Turn camera on",
    turnOffCamera: "Turn camera off",
    mute: "Mute",
    unmute: "Unmute",
    saveData: "Save data",
    saveDataHint: "Smaller pictures, of you and of others. Good on a slow or costly connection.",
    tryAgain: "Try again",
    howTo: "How to allow it",
    problems: {
      camera: {
        refused: "Your camera is blocked for this page.",
        "refused-by-system": "Your system doesn’t let this browser use the camera.",
        none: "No camera was found. Others will see your initials.",
        busy: "Another program is using your camera. Close it, then try again.",
        insecure: "Your camera only works over a secure connection (https).",
        failed: "Your camera could not be started.",
      },
      microphone: {
        refused: "Your microphone is blocked for this page.",
        "refused-by-system": "Your system doesn’t let this browser use the microphone.",
        none: "No microphone was found. You can still listen.",
        busy: "Another program is using your microphone. Close it, then try again.",
        insecure: "Your microphone only works over a secure connection (https).",
        failed: "Your microphone could not be started.",
      },
    },
    both: "Your camera and microphone are blocked for this page.",
    allow: {
      title: "Allow camera and microphone",
      chromium: [
        "Press the icon to the left of the address at the top of the window.",
        "Turn on Camera and Microphone.",
        "Come back here: it starts by itself.",
      ],
      firefox: [
        "Press the crossed-out camera or microphone to the left of the address.",
        "Remove the block with the × beside “Blocked”.",
        "Press “Try again” and choose Allow.",
      ],
      safari: [
        "In the menu bar choose Safari, then “Settings for This Website”.",
        "Set Camera and Microphone to Allow.",
        "Press “Try again”.",
      ],
      android: [
        "Press the icon to the left of the address, then Permissions.",
        "Allow Camera and Microphone.",
        "Press “Try again”.",
      ],
      ios: [
        "Press the icon beside the address, then “Website Settings”.",
        "Set Camera and Microphone to Allow.",
        "Press “Try again”.",
      ],
      system: [
        "Open your system’s settings and look for Privacy.",
        "Under Camera and Microphone, let this browser use them.",
        "Start the browser again and open the link once more.",
      ],
      meanwhile: "You can join without: you will see and hear everyone.",
    },
  },

  meeting: {
    title: (name: string) => `${name}: meeting`,
    region: "Meeting",
    tiles: "People in the meeting",
    controls: "Meeting controls",
    you: "You",
    screenOf: (name: string) => `${name}’s screen`,
    yourScreen: "You are sharing your screen",
    stopSharing: "Stop sharing",
    pin: (name: string) => `Pin ${name}`,
    unpin: (name: string) => `Unpin ${name}`,
    pinned: "Pinned",
    muted: "Muted",
    speaking: "Speaking",
    host: "Host",
    tileReconnecting: "Reconnecting…",
    connecting: "Connecting…",
    reconnecting: "Reconnecting… You will be back in a moment.",
    reconnectingLong: "Still reconnecting. Check your network connection.",
    mediaConnecting: "Connecting picture and sound…",
    alone: "You are the only one here",
    aloneHint: "Send the link to the people you want to meet.",
    mutedTalk: "You are muted. Press M, or hold Space to talk.",
    talking: "You are heard while you hold Space",
    soundBlocked: "Your browser holds back the sound.",
    hear: "Turn sound on",
    views: { grid: "Grid view", speaker: "Speaker view" },
    viewLater: {
      grid: "Grid view, as soon as nothing is shared or in the spotlight",
      speaker: "Speaker view, as soon as nothing is shared or in the spotlight",
    },
    toGrid: "Switch to grid view",
    toSpeaker: "Switch to speaker view",
    pages: "Pages of people",
    nextPage: "Next page",
    previousPage: "Previous page",
    page: (n: number, of: number) => `Page ${String(n)} of ${String(of)}`,
    pageShort: (n: number, of: number) => `${String(n)} / ${String(of)}`,
    actionsFor: (name: string) => `Actions for ${name}`,
    noCodec: {
      video:
        "You hear everyone, but this browser can’t show the format of their pictures. To see them, open the link in a current Chrome, Edge or Firefox.",
      audio:
        "This browser can’t play the format of the sound here. To hear the others, open the link in a current Chrome, Edge or Firefox.",
      both: "This browser can’t show the pictures here nor play the sound. Open the link in a current Chrome, Edge or Firefox.",
      dismiss: "Got it",
    },
    hideSelf: "Hide my tile",
    showSelf: "Show my tile",
    mute: "Mute microphone",
    unmute: "Unmute microphone",
    cameraOn: "Turn camera on",
    cameraOff: "Turn camera off",
    share: "Share your screen",
    people: "People",
    peopleCount: (n: number) => `People: ${String(n)}`,
    moreActions: "More",
    leave: "Leave",
    endForAll: "End for all",
    settings: "Camera, microphone, speaker",
    statistics: "Statistics",
    shortcuts: "Keyboard shortcuts",
    copyLink: "Copy link",
    linkCopied: "Link copied",
    shareFailed: "Your screen could not be shared. Try again.",
    joinedOne: (name: string) => `${name} joined`,
    joinedMany: (name: string, others: number) => `${name} and ${more(others)} joined`,
    leftOne: (name: string) => `${name} left`,
    leftMany: (name: string, others: number) => `${name} and ${more(others)} left`,
    lostOne: (name: string) => `${name} lost the connection`,
    removedOne: (name: string) => `${name} was removed`,
    close: "Close",
    cancel: "Cancel",
    leaveQuestion: "Leave the meeting?",
    leaveExplained: "The others stay. You can come back with the same link.",
    endQuestion: "End the meeting for everyone?",
    endExplained: "Everyone is sent out at once, and the link stops working.",
  },

  spotlight: {
    put: (name: string) => `Spotlight ${name} for everyone`,
    putSelf: "Spotlight yourself for everyone",
    add: (name: string) => `Add ${name} to the spotlight`,
    addSelf: "Add yourself to the spotlight",
    take: (name: string) => `Take ${name} out of the spotlight`,
    takeSelf: "Take yourself out of the spotlight",
    end: "End the spotlight",
    mark: "In the spotlight",
    /** `host`: null where there are several, and one of them did it. */
    markBy: (host: string | null) => `In the spotlight, by ${host ?? "the host"}`,
    markOwn: "In the spotlight, by you",
    byHost: (host: string | null, names: string) =>
      `${host ?? "The host"} put ${names} in the spotlight for everyone`,
    byYou: (names: string) => `You put ${names} in the spotlight for everyone`,
    on: "Your spotlight is on for everyone",
    onYourself: "Your spotlight is on you: everyone sees you large",
    onYou: (host: string | null) =>
      `${host ?? "The host"} put you in the spotlight: everyone sees you large`,
    yourself: "yourself",
    ended: "The spotlight is off",
    list: (names: readonly string[]) =>
      new Intl.ListFormat("en", { type: "conjunction" }).format(names),
  },

  encryption: {
    title: "Encryption",
    states: {
      "end-to-end": "End-to-end encrypted",
      alarm: "End-to-end encrypted, with a warning",
      waiting: "End-to-end encrypted, waiting for the keys",
      transport: "Encrypted on the way only",
    },
    explained: {
      "end-to-end":
        "Only the people in this meeting can see and hear it. The server passes everything on without being able to read it.",
      alarm:
        "The server can’t read this meeting, but something is wrong with who can. What it is stands below.",
      waiting:
        "Only the people in this meeting can see and hear it. You are about to get the keys; until then nothing of you is sent.",
      transport:
        "Pictures and sound are encrypted on the way to the server and from it. The server itself could see and hear this meeting.",
    },
    meetingCode: "Code of the meeting",
    meetingCodeHint:
      "Read it to each other. Everyone has the same digits: nobody has come in between. It changes when somebody comes or goes.",
    holders: (n: number) => `Who holds the keys (${String(n)})`,
    you: ", you",
    verified: (name: string) => `Verified account ${name}`,
    guest: "Guest, not verified",
    unproved: "Can’t prove who they are",
    nameless: "Name can’t be read",
    compare: "Compare",
    compareWith: (name: string) => `Compare the code with ${name}`,
    changedDevice: "Another device than you know",
    pairHint: (name: string) =>
      `${name} sees the same digits beside your name if you are really speaking to each other’s device. They stay the same from meeting to meeting.`,
    accept: "The codes are the same",
    changed: (name: string) =>
      `${name} is here with another device than you know. Compare the codes before you trust it.`,
    rotate: "Change the keys",
    rotateHint: "Everyone gets new keys, and nobody notices. It also happens by itself each hour.",
    rotating: "Changing the keys…",
    alarm: "Details",
    alarms: {
      stranger: (name: string) =>
        `Somebody is in the encryption who is not in the list of people, under ${claimed(name)}. Leave, and start a new meeting.`,
      double: (name: string) =>
        `Two are in the encryption under ${claimed(name)}. Leave, and start a new meeting.`,
      untrustworthy: (name: string) =>
        `Somebody who goes by ${claimed(name)} can’t prove it. You don’t see or hear them. Ask who it is.`,
      stays: (name: string) =>
        `Somebody was removed and still holds the keys, under ${claimed(name)}. Leave, and start a new meeting.`,
    },
  },

  people: {
    title: "People",
    search: "Search people",
    nobody: "Nobody of that name is here.",
    remove: (name: string) => `Remove ${name}`,
    removeQuestion: (name: string) => `Remove ${name}?`,
    removeExplained: "They leave the meeting at once.",
    removeAction: "Remove",
    list: "Everyone in the meeting",
    cameraOff: "Camera off",
    reconnecting: "Reconnecting",
    sharing: "Sharing the screen",
    link: "Link to this meeting",
  },

  shortcuts: {
    title: "Keyboard shortcuts",
    microphone: "Microphone on or off",
    camera: "Camera on or off",
    share: "Start or stop sharing your screen",
    view: "Grid or speaker view",
    next: "Next page of people",
    previous: "Previous page of people",
    people: "Show or hide people",
    encryption: "Show or hide encryption",
    leave: "Leave",
    shortcuts: "This list",
    space: "Hold to talk while muted",
    spaceKey: "Space",
    /** Keys whose names on a keyboard differ from what a browser calls them. */
    keyNames: { PageDown: "Page down", PageUp: "Page up" } as Readonly<Record<string, string>>,
    enabled: "Single keys act in a meeting",
  },

  statistics: {
    title: "Statistics",
    copy: "Copy",
    copied: "Copied",
    waiting: "Gathering…",
    connection: "Connection",
    phase: "State",
    signalingTransport: "Signaling by",
    mediaTransport: "Media by",
    carriers: { webtransport: "WebTransport (UDP)", websocket: "WebSocket (TCP)" },
    because: {
      blocked: "because UDP does not get through here",
      unsupported: "because this browser has no WebTransport",
    },
    controllerRtt: "Round trip, signaling",
    mediaRtt: "Round trip, media",
    join: "Join",
    joined: "Joined after",
    firstVideo: "First picture after",
    firstAudio: "First sound after",
    sent: "Sent",
    received: "Received",
    sound: "Sound output",
    discarded: "Discarded",
    nothing: "Nothing yet",
    kinds: { microphone: "Microphone", camera: "Camera", screen: "Screen" },
    phases: {
      idle: "not joined",
      connecting: "connecting",
      joined: "joined",
      reconnecting: "reconnecting",
      ended: "ended",
    },
    muted: "muted",
    paused: "paused, nobody watches",
    /** Sizes of the same picture, counted from the smallest. */
    layer: (n: number) => `layer ${String(n)}`,
    outOf: (rate: string, most: string) => `${rate} of ${most}`,
    switches: (n: number) => (n === 1 ? "1 switch" : `${String(n)} switches`),
    repeating: "each sound twice, for some get lost",
    codecs: {
      opus: "Opus",
      vp08: "VP8",
      vp09: "VP9",
      av01: "AV1",
      avc1: "H.264",
    } as Readonly<Record<string, string>>,
    uplinkLoss: "Lost on the way up",
    percent: (n: number) => `${n.toFixed(1)} %`,
    decoding: "Decoding",
    keepsUp: "keeps up",
    overloaded: "too slow here: smaller pictures were asked for",
    of: (name: string, what: string) => `${name}, ${what.toLowerCase()}`,
    fps: (n: number) => `${n.toFixed(0)} fps`,
    kbps: (n: number) => `${n.toFixed(0)} kbit/s`,
    mbps: (n: number) => `${n.toFixed(1)} Mbit/s`,
    encryption: "Encryption",
    suite: "Cipher",
    suites: { 4: "AES-128-GCM", 5: "AES-256-GCM" },
    epoch: "Epoch",
    epochOf: (epoch: number, group: number) => `${String(epoch)} of group ${String(group)}`,
    leaf: "Own leaf",
    sealed: "Frames sealed",
    opened: "Frames opened",
    openTime: "Time to open",
    decryptFailures: "Frames that could not be opened",
    unopened: (n: number) => `${String(n)} not opened`,
    fineMs: (n: number) => `${n.toFixed(2)} ms`,
    keys: "Keys after",
    lost: (n: number) => `${String(n)} lost`,
    dropped: (n: number) => `${String(n)} dropped`,
    decodeErrors: (n: number) => `${String(n)} decode errors`,
    buffer: (n: number) => `buffer ${n.toFixed(0)} ms`,
    concealed: (n: number) => `${n.toFixed(0)} ms concealed`,
    ms: (n: number) => `${String(Math.round(n))} ms`,
    unknown: "–",
  },

  end: {
    home: "Home",
    rejoin: "Rejoin",
    tryAgain: "Try again",
    newMeeting: "New meeting",
    copyLink: "Copy link",
    useHere: "Use this tab",
    lasted: (duration: string) => `You were in the meeting for ${duration}.`,
    left: ["You left the meeting", ""],
    removed: ["The host removed you from the meeting", "If that was a mistake, ask the host."],
    "meeting-ended": ["The meeting has ended", "Thank you for being here."],
    replaced: [
      "You are in this meeting in another tab",
      "It goes on there. You can bring it here.",
    ],
    lost: [
      "The connection was lost",
      "We tried to bring you back and could not. Check your network connection.",
    ],
    failed: ["Something went wrong", "The server closed the connection. Trying again often helps."],
    full: ["The meeting is full", "You can get in as soon as somebody leaves."],
    ended: ["This meeting has ended", "Its link no longer works."],
    "not-found": ["There is no meeting behind this link", "Check the link, or ask for a new one."],
    unauthorized: ["The invitation is no longer valid", "Trying again gets a fresh one."],
    unsupported: [
      "This browser can’t hold a meeting",
      "Open the link in a current Chrome, Edge or Firefox.",
    ],
    "encryption-unsupported": [
      "This meeting is end-to-end encrypted",
      "This browser can’t do that. Open the link in a current Chrome, Edge or Firefox.",
    ],
    "not-encrypted": [
      "This meeting should be encrypted and is not",
      "The server says so now. Nothing of you was sent without encryption. Ask who runs the server.",
    ],
    insecure: [
      "This page needs a secure connection",
      "Open the link with https:// at its beginning.",
    ],
    unreachable: [
      "We can’t reach the server",
      "Check your network connection. Some networks block video meetings.",
    ],
    "rate-limited": ["Too many attempts from here", "Wait a minute, then try again."],
  },

  link: {
    label: "Link to this meeting",
    copy: "Copy",
    /** What is copied: for a screen reader, where the eye sees it. */
    what: " the link",
    copied: "Copied",
  },
};

export type Texts = typeof english;

/** The language shown. English is the only one so far. */
export const texts: Texts = english;

/** "3 minutes", "1 hour 5 minutes"; "less than a minute" below one. */
export function duration(ms: number): string {
  const minutes = Math.floor(ms / 60_000);
  if (minutes < 1) return "less than a minute";
  const hours = Math.floor(minutes / 60);
  const rest = minutes % 60;
  const unit = (n: number, name: string): string => `${String(n)} ${name}${n === 1 ? "" : "s"}`;
  if (hours === 0) return unit(minutes, "minute");
  return rest === 0 ? unit(hours, "hour") : `${unit(hours, "hour")} ${unit(rest, "minute")}`;
}
