// How large each canvas is seen: measured at the element around it, for a canvas
// may be hidden until its first picture. In pixels of the screen; what is
// scrolled away or not laid out has none.
import type { TileSize } from "./rules/receiver-report";

type Tell = (canvas: number, size: TileSize) => void;

const UNSEEN: TileSize = { width: 0, height: 0 };

interface Watched {
  readonly canvas: number;
  box: DOMRectReadOnly | undefined;
  /** Until it is known, what has a size is taken to be in sight. */
  inSight: boolean;
}

export class TileSizes {
  readonly #tell: Tell;
  readonly #watched = new Map<Element, Watched[]>();
  readonly #resized = new ResizeObserver((entries) => {
    for (const { target, contentRect } of entries) {
      this.#change(target, (one) => (one.box = contentRect));
    }
  });
  readonly #moved = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      this.#change(target, (one) => (one.inSight = isIntersecting));
    }
  });
  /** Another screen may have other pixels. */
  readonly #onZoom = () => {
    for (const element of this.#watched.keys()) this.#change(element, () => undefined);
  };

  constructor(tell: Tell) {
    this.#tell = tell;
    globalThis.addEventListener("resize", this.#onZoom);
  }

  watch(canvas: number, element: Element): void {
    const others = this.#watched.get(element) ?? [];
    const box = others[0]?.box;
    const inSight = others[0]?.inSight ?? true;
    this.#watched.set(element, [...others, { canvas, box, inSight }]);
    this.#resized.observe(element);
    this.#moved.observe(element);
    if (box !== undefined) this.#change(element, () => undefined);
  }

  unwatch(canvas: number): void {
    for (const [element, all] of this.#watched) {
      const rest = all.filter((one) => one.canvas !== canvas);
      if (rest.length > 0) {
        this.#watched.set(element, rest);
        continue;
      }
      this.#watched.delete(element);
      this.#resized.unobserve(element);
      this.#moved.unobserve(element);
    }
  }

  close(): void {
    globalThis.removeEventListener("resize", this.#onZoom);
    this.#resized.disconnect();
    this.#moved.disconnect();
    this.#watched.clear();
  }

  #change(element: Element, apply: (one: Watched) => void): void {
    for (const one of this.#watched.get(element) ?? []) {
      apply(one);
      if (one.box === undefined) continue;
      const { width, height } = one.box;
      const scale = globalThis.devicePixelRatio;
      const size = { width: Math.round(width * scale), height: Math.round(height * scale) };
      this.#tell(one.canvas, one.inSight ? size : UNSEEN);
    }
  }
}
