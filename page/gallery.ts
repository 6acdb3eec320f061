import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import type { Plugin } from "vite";

const NAME = "virtual:gallery";
const MOST_POINTS = 60;

interface Entry {
  file: string;
  title: string;
  text: string;
  tags: string[];
}
interface Series {
  times: number[];
  values: Record<string, (number | null)[]>;
}

/**
 * The examples that `gallery.json` lists, as a module: their texts, thumbnails of their data, and functions that load
 * the requests, which come from `examples/requests/` and become files of their own.
 */
export function gallery(root: string): Plugin {
  const requests = resolve(root, "../examples/requests");
  return {
    name: "gallery",
    resolveId: (id) => (id === NAME ? `\0${NAME}` : null),
    load(id) {
      if (id !== `\0${NAME}`) return null;
      const entries = JSON.parse(readFileSync(resolve(root, "gallery.json"), "utf-8")) as Entry[];
      const items = entries.map(({ file, ...shown }) => {
        const path = resolve(requests, file);
        this.addWatchFile(path);
        const request = JSON.parse(readFileSync(path, "utf-8")) as { data?: Series; experiments?: Series[] };
        const key = file.replace(/^.*\//, "").replace(/\.json$/, "");
        const item = { key, ...shown, thumbnail: thumbnail(request.experiments ?? [request.data!]) };
        const load = `() => import(${JSON.stringify(path)}).then((module) => module.default)`;
        return `{ ...${JSON.stringify(item)}, load: ${load} }`;
      });
      return `export const examples = [${items.join(",\n")}];`;
    },
  };
}

/** Dots of every measured observable in a box of 100 by 40: [x, y, …] for each. */
function thumbnail(series: Series[]): number[][] {
  const times = series.flatMap((one) => one.times);
  const [first, last] = [Math.min(...times), Math.max(...times)];
  const names = [...new Set(series.flatMap((one) => Object.keys(one.values)))].slice(0, 3);
  return names.map((name) => {
    const pairs = series.flatMap((one) =>
      one.times.flatMap((time, i) => (one.values[name]?.[i] == null ? [] : [[time, one.values[name]![i]!] as const])),
    );
    const stride = Math.ceil(pairs.length / MOST_POINTS);
    const low = Math.min(...pairs.map(([, value]) => value));
    const high = Math.max(...pairs.map(([, value]) => value));
    return pairs
      .filter((_, i) => i % stride === 0)
      .flatMap(([time, value]) => [
        Math.round((1000 * (time - first)) / (last - first || 1)) / 10,
        Math.round(10 * (40 - (40 * (value - low)) / (high - low || 1))) / 10,
      ]);
  });
}
