// The media handlers of a seat, each with a session of its own that comes back by
// itself. The first is the home: pictures go there and come from there, and media
// is ready when it is. The others are spares, by which sound goes too; nothing
// waits for them.
import type { HandlerEndpoint, HandlerId, MediaServer, StreamId } from "@darktower/session";
import type { Report } from "../rules/receiver-report";
import { HandlerLink, type Arrival, type HandlerEvents } from "./handler-link";
import type { CarrierChoice } from "../rules/carrier-choice";

/** Dialled ahead of the join: a seat has a home and a spare. */
const WARM_HANDLERS = 2;
/** Of one seat; more are not taken from a server. */
const HANDLERS_MAX = 16;

export class Handlers {
  /** The home first. */
  #links: HandlerLink[] = [];
  /** How what is sent arrives. */
  readonly #arrivals = new Map<HandlerId, Arrival>();
  /** Which of them brought something of a stream last. */
  readonly #origins = new Map<StreamId, HandlerId>();
  readonly #choice: CarrierChoice;
  readonly #events: HandlerEvents;

  constructor(choice: CarrierChoice, events: HandlerEvents) {
    this.#choice = choice;
    this.#events = events;
  }

  get all(): readonly HandlerLink[] {
    return this.#links;
  }

  get home(): HandlerLink | undefined {
    return this.#links[0];
  }

  get arrivals(): ReadonlyMap<HandlerId, Arrival> {
    return this.#arrivals;
  }

  /** Opens sessions ahead of the join. */
  warm(endpoints: readonly HandlerEndpoint[]): void {
    for (const endpoint of endpoints.slice(0, WARM_HANDLERS)) this.#link(endpoint)?.warm();
  }

  /** These are the seat's, the home first; all others are left. */
  seat(servers: readonly MediaServer[]): void {
    if (servers.length === 0) return;
    const ids = servers.map(({ endpoint }) => endpoint.handlerId);
    for (const link of this.#links) if (!ids.includes(link.id)) this.#leave(link);
    for (const server of servers) this.assign(server);
    const place = ({ id }: HandlerLink): number => ids.indexOf(id);
    this.#links.sort((a, b) => place(a) - place(b));
  }

  /** One more, or a fresh token for one that is known. */
  assign(server: MediaServer): void {
    this.#link(server.endpoint)?.start(server);
  }

  /** A fresh token came; of no use for one that was removed meanwhile. */
  renew(server: MediaServer): void {
    this.#links.find(({ id }) => id === server.endpoint.handlerId)?.start(server);
  }

  /** Pictures are wanted there alone: it is the home now. */
  setHome(id: HandlerId): void {
    const home = this.#links.find((link) => link.id === id);
    if (home === undefined) return;
    this.#links = [home, ...this.#links.filter((link) => link !== home)];
  }

  remove(id: HandlerId): void {
    for (const link of this.#links) if (link.id === id) this.#leave(link);
  }

  clear(): void {
    for (const link of this.#links) this.#leave(link);
  }

  /** A session is gone. */
  lost(link: HandlerLink): void {
    this.#arrivals.delete(link.id);
  }

  arrived(link: HandlerLink, arrival: Arrival): void {
    this.#arrivals.set(link.id, arrival);
  }

  /** What is to be seen here. To all: which of them sends it may change any time. */
  report(report: Report): void {
    for (const link of this.#links) link.report(report);
  }

  came(from: HandlerId, id: StreamId): void {
    this.#origins.set(id, from);
  }

  gone(id: StreamId): void {
    this.#origins.delete(id);
  }

  /** From whoever sends the stream here: others know nothing of it. */
  requestKeyframe(stream: StreamId, encoding: number): void {
    const origin = this.#origins.get(stream);
    const ready = this.#links.filter((link) => link.ready);
    const asked = ready.find(({ id }) => id === origin) ?? ready[0];
    asked?.requestKeyframe(stream, encoding);
  }

  #link(endpoint: HandlerEndpoint): HandlerLink | undefined {
    const known = this.#links.find(({ id }) => id === endpoint.handlerId);
    if (known !== undefined || this.#links.length >= HANDLERS_MAX) return known;
    const link = new HandlerLink(endpoint, this.#choice.forAnother(), this.#events);
    this.#links.push(link);
    return link;
  }

  #leave(link: HandlerLink): void {
    this.#links = this.#links.filter((one) => one !== link);
    this.#arrivals.delete(link.id);
    link.close();
  }
}
