/** From a fit request to the simulation of its model at given values of the unknowns. */
import type { Entry, Experiment, FitRequest } from "../api/types";
import { seriesOf } from "./series";

/** Values of unknowns by name; those of one experiment are named as in `k[plot 3]`. */
export type Point = Record<string, number>;

const NEEDED = ["system", "per_experiment", "inputs", "constants", "solver"] as const;

/**
 * The body of `POST /simulations` for a request at a point. Unknowns that the point does not have keep their guesses.
 * `until`: an end beyond the data, to which the curves go on.
 */
export function simulationOf(request: FitRequest, point: Point, until?: number): Record<string, unknown> {
  const body: Record<string, unknown> = {};
  for (const name of NEEDED) if (request[name] !== undefined) body[name] = request[name];
  if (request.networks) body.networks = request.networks;
  const own = new Set(request.per_experiment ?? []);
  const series = seriesOf(request);
  body.parameters = mapped(request.parameters ?? {}, (name, entry) => point[name] ?? entry);
  body.initial_state = mapped(request.initial_state ?? {}, (name, entry) => point[name] ?? entry);
  const simulated = series.map((one) => simulatedSeries(one, point, until));
  // A parameter of one experiment has one guess in a request: where experiments differ, it becomes their constant.
  if (request.experiments?.length) body.experiments = simulated;
  else if (simulated[0]) body.data = simulated[0];
  if (!own.size) delete body.per_experiment;
  return body;
}

function simulatedSeries(series: Experiment, point: Point, until?: number): Record<string, unknown> {
  const { values: _, sigma: __, ...rest } = series;
  const own: Record<string, Entry> = { ...series.initial_state };
  for (const [name, value] of Object.entries(point)) {
    const state = name.endsWith(`[${series.name}]`) ? name.slice(0, -series.name.length - 2) : null;
    if (state !== null) own[state] = value;
  }
  const last = rest.times[rest.times.length - 1];
  const times = until !== undefined && last !== undefined && until > last ? [...rest.times, until] : rest.times;
  return { ...rest, times, initial_state: own };
}

function mapped(entries: Record<string, Entry>, change: (name: string, entry: Entry) => Entry): Record<string, Entry> {
  return Object.fromEntries(Object.entries(entries).map(([name, entry]) => [name, change(name, entry)]));
}

/** The guess of an entry; null for an expression, and where neither a guess nor bounds are given. */
export function guessOf(entry: Entry | undefined): number | null {
  if (typeof entry === "number") return entry;
  if (entry === undefined || typeof entry === "string") return null;
  if (entry.guess !== undefined) return entry.guess;
  if (entry.lower === undefined || entry.upper === undefined) return null;
  return entry.scale === "log" ? Math.sqrt(entry.lower * entry.upper) : (entry.lower + entry.upper) / 2;
}
