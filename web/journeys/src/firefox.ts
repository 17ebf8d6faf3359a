// Firefox under puppeteer by WebDriver BiDi, with its own fake devices: a
// picture of changing colour and a steady tone.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import puppeteer, { type Browser, type Page } from "puppeteer-core";
import { EVALUATE_MS, type Driver } from "./participant.ts";

const PATH = process.env["FIREFOX_BIN"] ?? "/usr/bin/firefox-esr";

const PREFERENCES = {
  "media.navigator.streams.fake": true,
  "media.navigator.permission.disabled": true,
  "media.cubeb.force_mock_context": true,
  "media.autoplay.default": 0,
};

export class FirefoxDriver implements Driver {
  readonly browser = "Firefox";
  readonly console: string[] = [];
  readonly #browser: Browser;
  readonly #page: Page;
  readonly #profile: string;

  private constructor(browser: Browser, page: Page, profile: string) {
    this.#browser = browser;
    this.#page = page;
    this.#profile = profile;
    page.on("console", (message) => this.console.push(`${message.type()}: ${message.text()}`));
    page.on("pageerror", (error) => {
      this.console.push(
        `uncaught: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`,
      );
    });
  }

  static async open(): Promise<FirefoxDriver> {
    const profile = await mkdtemp(join(tmpdir(), "darktower-firefox-"));
    const browser = await puppeteer.launch({
      browser: "firefox",
      executablePath: PATH,
      headless: true,
      userDataDir: profile,
      extraPrefsFirefox: PREFERENCES,
      args: ["--width=1280", "--height=720"],
      defaultViewport: { width: 1280, height: 720 },
    });
    const page = await browser.newPage();
    page.setDefaultTimeout(EVALUATE_MS);
    return new FirefoxDriver(browser, page, profile);
  }

  async goto(url: string): Promise<void> {
    await this.#page.goto(url);
  }

  async onNewDocument<A>(run: (argument: A) => void, argument: A): Promise<void> {
    await this.#page.evaluateOnNewDocument(run, argument);
  }

  async reload(): Promise<void> {
    await this.#page.reload();
  }

  url(): string {
    return this.#page.url();
  }

  click(selector: string): Promise<void> {
    return this.#page.locator(selector).click();
  }

  fill(selector: string, text: string): Promise<void> {
    return this.#page.locator(selector).fill(text);
  }

  press(key: string): Promise<void> {
    return this.#page.keyboard.press(key as "Enter");
  }

  evaluate<R, A>(run: (argument: A) => R | Promise<R>, argument: A): Promise<R> {
    return this.#page.evaluate(run as (argument: unknown) => R | Promise<R>, argument);
  }

  setViewport(width: number, height: number): Promise<void> {
    return this.#page.setViewport({ width, height });
  }

  async screenshot(path: string): Promise<void> {
    await writeFile(path, await this.#page.screenshot({ type: "png" }));
  }

  async close(): Promise<void> {
    await this.#browser.close();
    await rm(this.#profile, { recursive: true, force: true });
  }
}
