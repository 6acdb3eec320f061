/** From a fit request to the simulation of its model at given values of the unknowns. */
import type { Entry, Experiment, FitRequest, System } from "../api/types";
import { seriesOf } from "./series";

/** Values of unknowns by name; those of one experiment are named as in `k[plot 3]`. */
export type Point = Record<string, number>;

const NEEDED = ["inputs", "constants", "solver", "networks", "seed"] as const;

/**
 * The body of `POST /simulations` for a request at a point. Unknowns that the point does not have keep their guesses.
 * `until`: an end beyond the data, to which the curves go on.
 */
export function simulationOf(request: FitRequest, point: Point, until?: number): Record<string, unknown> {
  const body: Record<string, unknown> = {};
  for (const name of NEEDED) if (request[name] !== undefined) body[name] = request[name];
  const own = (request.per_experiment ?? []).filter((name) => Object.keys(point).some((one) => one.startsWith(`${name}[`)));
  const shared = Object.fromEntries(Object.entries(request.parameters ?? {}).filter(([name]) => !own.includes(name)));
  body.system = withConstants(request.system, own);
  body.parameters = mapped(shared, (name, entry) => point[name] ?? entry);
  body.initial_state = mapped(request.initial_state ?? {}, (name, entry) => point[name] ?? entry);
  const simulated = seriesOf(request).map((one) => simulatedSeries(one, point, own, until));
  if (request.experiments?.length) body.experiments = simulated;
  else if (simulated[0]) body.data = simulated[0];
  return body;
}

/** The system with parameters as constants: a request has one guess for a parameter that differs between experiments. */
function withConstants(system: FitRequest["system"], own: string[]): FitRequest["system"] {
  if (typeof system === "string" || !own.length) return system;
  const parameters = (system.parameters ?? []).filter((name) => !own.includes(name));
  return { ...system, parameters, constants: { ...system.constants, ...Object.fromEntries(own.map((name) => [name, 1])) } };
}

function simulatedSeries(series: Experiment, point: Point, own: string[], until?: number): Record<string, unknown> {
  const { values: _, sigma: __, ...rest } = series;
  const suffix = `[${series.name}]`;
  const initial: Record<string, Entry> = { ...series.initial_state };
  const constants: Record<string, unknown> = { ...series.constants };
  for (const [name, value] of Object.entries(point)) {
    if (!name.endsWith(suffix)) continue;
    const stem = name.slice(0, -suffix.length);
    if (own.includes(stem)) constants[stem] = value;
    else initial[stem] = value;
  }
  const last = rest.times[rest.times.length - 1];
  const times = until !== undefined && last !== undefined && until > last ? [...rest.times, until] : rest.times;
  return { ...rest, times, initial_state: initial, constants };
}

/** A request whose system is spelled out if parameters differ between experiments, as simulations of those need it. */
export async function spelledOut(request: FitRequest, systems: () => Promise<System[]>): Promise<FitRequest> {
  if (typeof request.system !== "string" || !request.per_experiment?.length) return request;
  const found = (await systems()).find((one) => one.name === request.system);
  if (!found) return request;
  const { states, parameters, constants, equations, observables } = found;
  return { ...request, system: { states, parameters, constants, equations, observables } };
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
