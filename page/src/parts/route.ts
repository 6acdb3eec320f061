/** The view that the address names: `#/`, `#/model`, `#/fits`, `#/fits/ID` or `#/compare/ID,ID`. */
import { signal } from "@preact/signals";

export interface Route {
  view: string;
  argument: string;
}

export const route = signal<Route>(current());

function current(): Route {
  const [, view = "", argument = ""] = window.location.hash.replace(/^#/, "").split("/");
  return { view, argument: decoded(argument) };
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

window.addEventListener("hashchange", () => {
  route.value = current();
  window.scrollTo(0, 0);
});

/** Go to a view, such as `fits/ID`. */
export function go(path: string): void {
  window.location.hash = `/${path}`;
}
