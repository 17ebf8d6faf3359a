// Walks through a meeting with bots in it, at several sizes and in both colour
// schemes. Usage: node look.mjs URL FOLDER BINARY [DIST]
import { bot, bots, browser, open, shoot, url } from "./browser.mjs";

const people = ["Noor Haddad", "Mateo Ruiz", "Yuki Tanaka", "Ingrid Solberg"];
try {
  for (const [width, height, scheme] of [
    [1280, 720, "dark"],
    [320, 640, "light"],
    [1920, 1080, "light"],
  ]) {
    const tag = `${width}-${scheme}`;
    const page = await open(width, height, scheme);
    await page.goto(url);
    await shoot(page, `home-${tag}`);
    await page.getByTestId("new-meeting").click();
    await page.getByTestId("name").fill("Lena Vogt");
    await page.waitForSelector('[data-testid="preview"][data-live="true"]');
    await page.waitForTimeout(900);
    await shoot(page, `lobby-${tag}`);
    await page.getByTestId("join").click();
    await page.getByTestId("alone").waitFor();
    await shoot(page, `alone-${tag}`);
    const link = page.url();
    bot(link, people[0]);
    await page.waitForFunction(() => document.querySelectorAll("canvas:not(.hidden)").length > 0);
    await page.waitForTimeout(1200);
    await shoot(page, `duo-${tag}`);
    for (const name of people.slice(1)) bot(link, name);
    await page.waitForFunction(() => document.querySelectorAll("canvas:not(.hidden)").length > 3);
    await page.waitForTimeout(1200);
    await shoot(page, `grid-${tag}`);
    await page.getByTestId("people-toggle").click();
    await shoot(page, `people-${tag}`);
    await page.getByTestId("people").getByRole("button", { name: "Close" }).click();
    await page.locator('[data-testid="tile"]:not([data-self="true"]) .pin').first().click();
    await page.waitForTimeout(500);
    await shoot(page, `pinned-${tag}`);
    await page.getByTestId("more").click();
    await shoot(page, `more-${tag}`);
    await page.getByTestId("statistics").click();
    await page.waitForTimeout(1500);
    await shoot(page, `statistics-${tag}`);
    await page.getByTestId("statistics-panel").getByRole("button", { name: "Close" }).click();
    await page.getByTestId("more").click();
    await page.getByTestId("settings").click();
    await shoot(page, `settings-${tag}`);
    await page.keyboard.press("Escape");
    await page.keyboard.press("?");
    await shoot(page, `shortcuts-${tag}`);
    await page.keyboard.press("Escape");
    await page.getByTestId("leave").click();
    await page.getByTestId("ended").waitFor();
    await shoot(page, `ended-${tag}`);
    await page.context().close();
    for (const process of bots.splice(0)) process.kill();
  }
} finally {
  for (const process of bots) process.kill();
  await browser.close();
}
