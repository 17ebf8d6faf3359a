// Which page of the app is shown: told by the path, changed without loading.
import { keyOfPath } from "../home/link";

export type Route = { readonly page: "home" } | { readonly page: "meeting"; readonly key: string };

function routeOf(pathname: string): Route {
  const key = keyOfPath(pathname);
  return key === null ? { page: "home" } : { page: "meeting", key };
}

export class Router {
  route = $state.raw<Route>(routeOf(location.pathname));

  constructor() {
    addEventListener("popstate", () => {
      this.route = routeOf(location.pathname);
    });
  }

  /** Goes to a path of this app. */
  go(path: string): void {
    history.pushState(null, "", path);
    this.route = routeOf(path);
  }
}
