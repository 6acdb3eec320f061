/** Fits that begin where another one ended. */
import { submit } from "../api/client";
import type { Entry, Fit, FitRequest, Noise, Unknown } from "../api/types";
import { seriesOf, timeRange } from "../request/series";

const POINTS = 200;

/** A request that goes on from the best point of a fit. The stages are left to the service. */
export function continued(fit: Fit, request: FitRequest, title: string): FitRequest {
  const { stages: _, predictions: __, ...rest } = request;
  return {
    ...rest,
    parameters: withoutGuesses(rest.parameters),
    initial_state: withoutGuesses(rest.initial_state),
    continue_from: fit.id,
    uncertainty: rest.uncertainty === "profile" ? "profile" : "covariance",
    labels: { ...rest.labels, title: title.slice(0, 200), repeats: fit.id },
  };
}

/** Entries with their bounds only; what is fixed or an expression stays. */
function withoutGuesses<E extends Entry>(entries: Record<string, E> | undefined): Record<string, E> {
  const kept = Object.entries(entries ?? {}).flatMap(([name, entry]): [string, E][] => {
    if (typeof entry === "number") return [];
    if (typeof entry === "string" || entry.fixed) return [[name, entry]];
    const { guess: _, ...rest } = entry as Unknown;
    return Object.keys(rest).length ? [[name, rest as unknown as E]] : [];
  });
  return Object.fromEntries(kept);
}

/** The same fit with intervals from profiles. */
export function withProfiles(fit: Fit, request: FitRequest, title: string): FitRequest {
  return { ...continued(fit, request, `${title}, profiles`), uncertainty: "profile" };
}

/** The same fit from many points, to see whether there is a better optimum. */
export function withStarts(fit: Fit, request: FitRequest, title: string, starts: number): FitRequest {
  return { ...continued(fit, request, `${title}, ${starts} starts`), starts };
}

/** The same fit without the last quarter of the time, which is then predicted and scored. */
export function withHoldOut(fit: Fit, request: FitRequest, title: string): FitRequest {
  const [from, to] = timeRange(request);
  const after = Number((from + 0.75 * (to - from)).toPrecision(6));
  return { ...continued(fit, request, `${title}, held out after ${after}`), hold_out: { after } as FitRequest["hold_out"] };
}

/** The same fit with another distribution of the noise, for all that was measured. */
export function withNoise(fit: Fit, request: FitRequest, title: string, noise: Noise, words: string): FitRequest {
  const names = [...new Set(seriesOf(request).flatMap((series) => Object.keys(series.values)))];
  return { ...continued(fit, request, `${title}, ${words}`), noise: Object.fromEntries(names.map((name) => [name, noise])) };
}

/** The same fit with a prediction of every series from its start to `end`, with bands. */
export function withPredictions(fit: Fit, request: FitRequest, title: string, end: number): FitRequest {
  const several = (request.experiments?.length ?? 0) > 1;
  const predictions = seriesOf(request).slice(0, 12).map((series) => {
    const from = series.start_time ?? series.times[0]!;
    const times = Array.from({ length: POINTS }, (_, i) => from + ((end - from) * i) / (POINTS - 1));
    return { name: `${series.name} until ${Number(end.toPrecision(6))}`, times, ...(several ? { experiment: series.name } : {}) };
  });
  return { ...continued(fit, request, `${title}, until ${Number(end.toPrecision(6))}`), predictions };
}

/** Submit a request and return the new fit's id. */
export async function start(request: FitRequest): Promise<string> {
  return (await submit(request)).id;
}
