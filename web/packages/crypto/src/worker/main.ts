// The crypto worker's entrance: the page hands in the port to the media worker
// and is not heard of again.
import type { StartCrypto } from "../messages";
import { Driver } from "./driver";

self.onmessage = (event: MessageEvent<StartCrypto>) => {
  const { port, origin } = event.data;
  self.onmessage = null;
  new Driver(port, origin).start();
};
