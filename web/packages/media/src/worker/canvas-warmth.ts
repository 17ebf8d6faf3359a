// The first picture that a worker draws costs many times what the others do: what
// draws is made then, by the page's own thread while the worker waits, and at a
// join that thread is busy. So one small picture is drawn ahead, for nobody.

const PICTURE = 16;
let drawn = false;

export function warmCanvas(): void {
  if (drawn) return;
  drawn = true;
  const context = new OffscreenCanvas(PICTURE, PICTURE).getContext("2d", { alpha: false });
  if (context === null) return;
  try {
    const frame = new VideoFrame(new Uint8Array((PICTURE * PICTURE * 3) / 2), {
      format: "I420",
      codedWidth: PICTURE,
      codedHeight: PICTURE,
      timestamp: 0,
    });
    try {
      context.drawImage(frame, 0, 0);
    } finally {
      frame.close();
    }
  } catch {
    // Who can't do this finds it out by the first picture that matters.
  }
}
