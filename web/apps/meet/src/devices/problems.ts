// Why a camera or microphone can't be had, told apart by what a person can do
// about it; and which browser's words to use for it. Pure.

export type DeviceKind = "microphone" | "camera";

export type Problem =
  /** The page was refused; the browser's address bar is where to change it. */
  | "refused"
  /** The operating system refuses the browser. */
  | "refused-by-system"
  | "none"
  /** Another program holds the device. */
  | "busy"
  /** Browsers hand out devices to secure pages only. */
  | "insecure"
  | "failed";

/** The problem behind a failed `getUserMedia`. */
export function problemOf(error: unknown): Problem {
  if (!(error instanceof Error)) return "failed";
  switch (error.name) {
    case "NotAllowedError":
    case "PermissionDeniedError":
      return /system/i.test(error.message) ? "refused-by-system" : "refused";
    case "NotFoundError":
    case "DevicesNotFoundError":
    case "OverconstrainedError":
      return "none";
    case "NotReadableError":
    case "TrackStartError":
    case "AbortError":
      return "busy";
    case "SecurityError":
      return "insecure";
    default:
      return "failed";
  }
}

/** Whose settings to describe; the keys of the catalogue's instructions. */
export type BrowserKind = "chromium" | "firefox" | "safari" | "android" | "ios";

/** Told by the user agent: only words depend on it, never what is tried. */
export function browserOf(userAgent: string): BrowserKind {
  if (/iPhone|iPad|iPod/.test(userAgent)) return "ios";
  if (/Android/.test(userAgent) && !/Firefox/.test(userAgent)) return "android";
  if (/Firefox/.test(userAgent)) return "firefox";
  if (/Safari/.test(userAgent) && !/Chrom(e|ium)/.test(userAgent)) return "safari";
  return "chromium";
}
