// Chromium under playwright, with a fake camera and microphone: a moving
// picture, and a beep every half second.
import { chromium, type Browser, type Page } from "playwright-core";
import type { Driver } from "./participant.ts";
import { EVALUATE_MS } from "./participant.ts";

const PATH = process.env["CHROMIUM_BIN"] ?? "/usr/bin/chromium";

const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--use-fake-ui-for-media-stream",
  "--use-fake-device-for-media-stream=fps=30",
  "--autoplay-policy=no-user-gesture-required",
];

export function launchChromium(): Promise<Browser> {
  return chromium.launch({ executablePath: PATH, headless: true, args: FLAGS });
}

export interface PageOptions {
  readonly colorScheme?: "light" | "dark";
  readonly width?: number;
  readonly height?: number;
}

/** One person: a context of their own, so that nothing is shared but the CPU. */
export class ChromiumDriver implements Driver {
  readonly browser = "Chromium";
  readonly console: string[] = [];
  readonly page: Page;

  private constructor(page: Page) {
    this.page = page;
    page.on("console", (message) => this.console.push(`${message.type()}: ${message.text()}`));
    page.on("crash", () => this.console.push("the page crashed"));
    page.on("pageerror", (error) => this.console.push(`uncaught: ${error.stack ?? error.message}`));
  }

  static async open(browser: Browser, options: PageOptions = {}): Promise<ChromiumDriver> {
    const context = await browser.newContext({
      viewport: { width: options.width ?? 1280, height: options.height ?? 720 },
      colorScheme: options.colorScheme ?? "dark",
      permissions: ["camera", "microphone", "clipboard-read", "clipboard-write"],
    });
    const page = await context.newPage();
    page.setDefaultTimeout(EVALUATE_MS);
    return new ChromiumDriver(page);
  }

  async goto(url: string): Promise<void> {
    await this.page.goto(url);
  }

  async onNewDocument<A>(run: (argument: A) => void, argument: A): Promise<void> {
    await this.page.addInitScript(run as (argument: unknown) => void, argument);
  }

  async reload(): Promise<void> {
    await this.page.reload();
  }

  url(): string {
    return this.page.url();
  }

  click(selector: string): Promise<void> {
    return this.page.locator(selector).first().click();
  }

  fill(selector: string, text: string): Promise<void> {
    return this.page.locator(selector).first().fill(text);
  }

  press(key: string): Promise<void> {
    return this.page.keyboard.press(key);
  }

  evaluate<R, A>(run: (argument: A) => R | Promise<R>, argument: A): Promise<R> {
    // The driver types its own idea of what can be sent to a page.
    return this.page.evaluate(run as (argument: unknown) => R | Promise<R>, argument);
  }

  setViewport(width: number, height: number): Promise<void> {
    return this.page.setViewportSize({ width, height });
  }

  async screenshot(path: string): Promise<void> {
    await this.page.screenshot({ path });
  }

  close(): Promise<void> {
    return this.page.context().close();
  }
}
