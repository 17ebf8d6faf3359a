// The lock, its panel and its warnings in every state, at several sizes and in both
// colour schemes; the states are put in by hand. Usage: node encryption.mjs URL FOLDER
import { browser, open, shoot, url } from "./browser.mjs";

const PAIR = "12345 67890 11111 22222 33333 44444 55555 66666 77777";
const holder = (leaf, name, more) => ({
  leaf,
  participantId: `p${leaf}`,
  name,
  self: false,
  account: null,
  deviceThumbprint: `device ${leaf}`,
  pairCode: PAIR,
  ...more,
});
const account = (name) => ({ issuer: "here", subject: name, name });
const states = {
  transport: [{ kind: "transport" }],
  waiting: [{ kind: "waiting" }],
  locked: [endToEnd([])],
  changed: [endToEnd([]), endToEnd([], "another device")],
  alarm: [
    endToEnd([
      { kind: "stranger", name: "Mallory With A Rather Long Name", leaf: 4 },
      { kind: "stays", name: "Mateo Ruiz", leaf: 2 },
    ]),
  ],
};

function endToEnd(alarms, device = "device 1") {
  const holders = [
    holder(0, "Lena Vogt", { self: true, pairCode: "" }),
    holder(1, "Noor Haddad", {
      account: account("noor.haddad@example.org"),
      deviceThumbprint: device,
    }),
    holder(2, "Mateo Ruiz"),
  ];
  const meetingCode = "04711 98765 00042 31415 92653 58979";
  const view = { position: { group: 1, epoch: 4n }, meetingCode, holders, alarms };
  return { kind: "end-to-end", suite: 4, view };
}

try {
  for (const [width, height, scheme] of [
    [1280, 720, "dark"],
    [320, 640, "light"],
    [700, 500, "dark"],
    [1920, 1080, "light"],
  ]) {
    const page = await open(width, height, scheme);
    await page.goto(url);
    await page.getByTestId("new-meeting").click();
    await page.getByTestId("name").fill("Lena Vogt");
    await page.getByTestId("protection").waitFor();
    await page.getByTestId("join").click();
    await page.getByTestId("alone").waitFor();
    for (const [name, steps] of Object.entries(states)) {
      const tag = `${name}-${width}-${scheme}`;
      for (const state of steps) {
        await page.evaluate((one) => globalThis.darkTower.meeting.emit("encryption", one), state);
      }
      await page.waitForTimeout(300);
      await shoot(page, `lock-${tag}`);
      await page.keyboard.press("e");
      const panel = page.getByTestId("encryption-panel");
      await panel.waitFor();
      const compare = panel.getByTestId("compare").last();
      if (name === "changed") await compare.click();
      await shoot(page, `panel-${tag}`);
      const wide = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
      if (wide) console.log(`${tag}: wider than the window`);
      await page.keyboard.press("e");
      await panel.waitFor({ state: "detached" });
    }
    await page.context().close();
  }
} finally {
  await browser.close();
}
