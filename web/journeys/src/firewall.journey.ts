// Networks that block UDP, with the kernel's own firewall: before the meeting,
// and in the middle of it.
import assert from "node:assert/strict";
import { stats } from "./diagnostics.ts";
import { encrypted, noFailures, sameCode } from "./encrypted.ts";
import { allowAll, blockUdp } from "./firewall.ts";
import { journey } from "./journey.ts";
import { carriedBy, enterByWebTransport, watchGaps } from "./network.ts";
import { hearsBeeps } from "./sound.ts";
import { enter, join, leave, openLobby, seeEachOther } from "./steps.ts";

journey(
  "UDP is blocked in the middle of a meeting, which goes on by WebSocket",
  async (scene) => {
    const { url } = await encrypted(scene);
    const ana = await scene.chromium("Ana");
    const bo = await scene.chromium("Bo");
    await enterByWebTransport(ana, url);
    await enterByWebTransport(bo, url);
    await seeEachOther(ana, bo);
    const code = await sameCode([ana, bo]);
    const gaps = await Promise.all([watchGaps(ana), watchGaps(bo)]);

    await blockUdp();
    await Promise.all([carriedBy(ana, "websocket"), carriedBy(bo, "websocket")]);
    await seeEachOther(ana, bo);
    await Promise.all([hearsBeeps(ana, "Bo"), hearsBeeps(bo, "Ana")]);
    for (const [at, { name }] of [ana, bo].entries()) {
      const longest = await gaps[at]?.();
      console.log(
        `${name}: ${longest?.video} ms without video, ${longest?.audio} ms without sound`,
      );
    }

    // The same group as before: nobody had to be let in anew.
    assert.equal(await sameCode([ana, bo]), code);
    await noFailures(ana, bo);
    await allowAll();
    await leave(ana);
    await enterByWebTransport(ana, url);
    await seeEachOther(ana, bo);
  },
  { firewall: true },
);

journey(
  "who has no UDP at all joins by WebSocket, encrypted",
  async (scene) => {
    await blockUdp();
    const { url } = await encrypted(scene);
    const ana = await scene.chromium("Ana");
    const bo = await scene.chromium("Bo");
    await enter(ana, url);
    await openLobby(bo, url);
    await join(bo);
    await seeEachOther(ana, bo);
    await Promise.all([hearsBeeps(ana, "Bo"), hearsBeeps(bo, "Ana")]);
    await Promise.all([carriedBy(ana, "websocket"), carriedBy(bo, "websocket")]);
    await sameCode([ana, bo]);
    await noFailures(ana, bo);
    const { joinTimings } = await stats(bo);
    console.log(
      `Bo: joined in ${joinTimings?.joinedMs} ms, first picture drawn after ${joinTimings?.firstVideoDrawnMs} ms`,
    );
  },
  { firewall: true },
);
