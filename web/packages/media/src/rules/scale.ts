// The size to encode at: no more pixels than the budget, the same shape, even
// sides as 4:2:0 wants, never larger than what was captured.

export interface Size {
  readonly width: number;
  readonly height: number;
}

export function encodedSize(captured: Size, pixelsMax: number): Size {
  const pixels = Math.max(1, captured.width * captured.height);
  const scale = Math.min(1, Math.sqrt(pixelsMax / pixels));
  return { width: even(captured.width * scale), height: even(captured.height * scale) };
}

function even(side: number): number {
  return Math.max(2, Math.round(side / 2) * 2);
}
