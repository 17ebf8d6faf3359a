// The cable between one person's browser and the server's signaling, which can be
// pulled and plugged in again. The page finds its way through it in the API's
// answers, and no other way; media takes its usual one.
import type { Page } from "playwright-core";
import { Relay } from "./relay.ts";

interface Access {
  readonly meeting_controller?: { url: string; websocket_url: string | null };
}

/** A relay through which a page's signaling goes to the server's UDP port. */
export async function cableOf(page: Page, serverPort: number): Promise<Relay> {
  const relay = await Relay.before(serverPort);
  await page.route("**/api/v1/meetings**", async (route) => {
    const response = await route.fetch();
    const access = (await response.json()) as Access;
    const controller = access.meeting_controller;
    if (controller) {
      const there = new URL(controller.url);
      there.port = String(relay.port);
      controller.url = there.href;
      controller.websocket_url = null;
    }
    await route.fulfill({ response, json: access });
  });
  return relay;
}
