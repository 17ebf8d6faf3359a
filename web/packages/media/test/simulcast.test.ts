import { describe, expect, it } from "vitest";
import { EncodingGate } from "../src/rules/encoding-gate";
import { cameraPixelsMax, encodingCount, planEncodings } from "../src/rules/encodings";
import { Overload } from "../src/rules/overload";

const CAMERA = { pixelsMax: 1280 * 720, bitrate: 1_500_000, encodingsMax: 3 };
const size = (width: number, height: number) => ({ width, height });

describe("a camera", () => {
  it("is sent in a quarter, a half and all of its sides", () => {
    const plans = planEncodings(size(1280, 720), CAMERA, 3);
    expect(plans.map(({ width, height }) => [width, height])).toEqual([
      [320, 180],
      [640, 360],
      [1280, 720],
    ]);
    for (const [i, about] of [100_000, 400_000, 1_500_000].entries()) {
      expect(Math.abs((plans[i]?.bitrate ?? 0) - about) / about).toBeLessThan(0.1);
    }
  });

  it("is sent in fewer where the smallest would be none", () => {
    expect(encodingCount(size(1280, 720), CAMERA)).toBe(3);
    expect(encodingCount(size(640, 360), CAMERA)).toBe(3);
    expect(encodingCount(size(320, 180), CAMERA)).toBe(2);
    expect(encodingCount(size(160, 90), CAMERA)).toBe(1);
    expect(encodingCount(size(1920, 1080), { ...CAMERA, encodingsMax: 1 })).toBe(1);
  });

  it("keeps the number of its encodings whatever it captures", () => {
    const plans = planEncodings(size(90, 160), CAMERA, 3);
    expect(plans.map(({ width, height }) => [width, height])).toEqual([
      [22, 40],
      [46, 80],
      [90, 160],
    ]);
  });

  it("is sent smaller by a device with few cores", () => {
    const pixels = [1, 2, 4, 8, 64].map(cameraPixelsMax);
    expect(pixels).toEqual([...pixels].sort((a, b) => a - b));
    expect(pixels[0]).toBeLessThan(pixels[4] ?? 0);
  });
});

describe("datagrams of another encoding", () => {
  it("are followed from a later key frame on, and those of the one before are stray", () => {
    const gate = new EncodingGate();
    expect(gate.accept(2, true, 10n, 0)).toBe("same");
    expect(gate.accept(2, false, 20n, 10)).toBe("same");
    expect(gate.accept(0, false, 30n, 20)).toBe("stray");
    expect(gate.accept(0, true, 15n, 21)).toBe("stray");
    expect(gate.accept(0, true, 40n, 30)).toBe("switched");
    expect(gate.accept(2, true, 25n, 31)).toBe("stray");
    expect(gate.accept(0, false, 50n, 40)).toBe("same");
  });

  it("whose beginning was lost have a key frame asked for", () => {
    const gate = new EncodingGate();
    gate.accept(2, true, 10n, 0);
    const verdicts = [];
    for (let i = 1; i < 20; i++) verdicts.push(gate.accept(0, false, BigInt(10 + i), i * 33));
    expect(verdicts.filter((one) => one === "lost")).toHaveLength(2);
  });
});

describe("a device", () => {
  it("is overloaded when a decoder stays behind, and not by a burst", () => {
    const overload = new Overload();
    for (let now = 0; now < 500; now += 10) overload.queued("a", 60 - now / 10, now);
    expect(overload.isOverloaded(500)).toBe(false);
    for (let now = 600; now < 1500; now += 33) overload.queued("a", 9, now);
    expect(overload.isOverloaded(1500)).toBe(true);
  });

  it("is not overloaded any more once it was in time for a while", () => {
    const overload = new Overload();
    for (let now = 0; now <= 900; now += 33) overload.queued("a", 9, now);
    for (let now = 900; now < 4000; now += 33) overload.queued("a", 1, now);
    expect(overload.isOverloaded(4000)).toBe(true);
    for (let now = 4000; now < 6000; now += 33) overload.queued("a", 1, now);
    expect(overload.isOverloaded(6000)).toBe(false);
  });

  it("is judged by each decoder alone", () => {
    const overload = new Overload();
    for (let now = 0; now < 3000; now += 33) {
      overload.queued("a", now % 66 === 0 ? 9 : 1, now);
      overload.queued("b", now % 66 === 0 ? 1 : 9, now);
    }
    expect(overload.isOverloaded(3000)).toBe(false);
  });
});
