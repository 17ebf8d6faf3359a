// Thousands of random histories of one seat: whatever is opened, closed, lost,
// answered or refused, the machine stays sane and, left alone with a good
// server, is joined again.
import { create } from "@bufbuild/protobuf";
import { ErrorCode, ErrorMessageSchema } from "@darktower/protocol";
import { describe, expect, it } from "vitest";
import { type Random, forSeeds } from "../../protocol/test/random";
import { Driver } from "./server";

const phaseOf = (driver: Driver): string => driver.signaling.phase.phase;

function step(driver: Driver, random: Random): void {
  const { signaling } = driver;
  switch (random.below(9)) {
    case 0:
      driver.open();
      break;
    case 1:
      if (driver.count("joinRequest") > 0) driver.seat();
      break;
    case 2:
      signaling.handleClosed(
        1 + random.below(driver.attempt + 1),
        [undefined, 0, 4, 8][random.below(4)],
        "",
        driver.now,
      );
      break;
    case 3:
      driver.echo = random.chance(70);
      break;
    case 4:
      signaling.setLayout({
        kind: "grid",
        rows: 1 + random.below(3),
        columns: 1 + random.below(3),
      });
      break;
    case 5:
      signaling.handleEcho(driver.attempt, random.bytes(random.below(10)), driver.now);
      break;
    case 6: {
      if (driver.count("joinRequest") === 0) break;
      const value = create(ErrorMessageSchema, {
        code: ErrorCode.RATE_LIMITED,
        retryAfterMs: random.below(2000),
      });
      driver.answer(driver.idOf("joinRequest"), { case: "error", value });
      break;
    }
    default:
      driver.advance(random.below(3000));
  }
  driver.pump();
}

describe("a seat", () => {
  it("comes back after any history that did not end it", () => {
    forSeeds(1500, (random) => {
      const driver = new Driver({ random: () => random.below(1000) / 1000 });
      driver.signaling.join("Me", 0);
      driver.pump();
      for (let i = 0; i < 40; i++) {
        step(driver, random);
        const { phase } = driver.signaling;
        if (phase.phase === "ended") {
          // The only ends that this history allows: too long without a server.
          expect(["unreachable"]).toContain(phase.failure);
          expect(driver.signaling.due).toBeUndefined();
          return;
        }
        expect(driver.signaling.due).toBeDefined();
      }
      driver.echo = true;
      for (let i = 0; i < 20 && phaseOf(driver) !== "joined"; i++) {
        driver.open();
        if (driver.count("joinRequest") > 0) driver.seat();
        if (phaseOf(driver) !== "joined") driver.advance(1000);
      }
      expect(["joined", "ended"]).toContain(phaseOf(driver));
      // One session counts: every other one was closed or is gone.
      expect(new Set(driver.connects).size).toBe(driver.connects.length);
    });
  });
});
