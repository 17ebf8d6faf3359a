// Typed events, delivered in the order of subscription.

export class Emitter<Events extends object> {
  readonly #listeners = new Map<keyof Events, Set<(event: never) => void>>();

  /** Gives what unsubscribes. */
  on<K extends keyof Events>(type: K, listener: (event: Events[K]) => void): () => void {
    const listeners = this.#listeners.get(type) ?? new Set();
    this.#listeners.set(type, listeners);
    listeners.add(listener);
    return () => {
      listeners.delete(listener);
    };
  }

  protected emit<K extends keyof Events>(type: K, event: Events[K]): void {
    const listeners = this.#listeners.get(type) as Set<(event: Events[K]) => void> | undefined;
    for (const listener of [...(listeners ?? [])]) listener(event);
  }
}
