/** The series of a request, however it gives them. */
import type { Experiment, FitRequest, Series } from "../api/types";

/** All series, in order: the experiments, or the single one, whose name is then "data" by default. */
export function seriesOf(request: FitRequest): Experiment[] {
  if (request.experiments?.length) return request.experiments;
  return request.data ? [{ ...request.data, name: request.data.name ?? "data" }] : [];
}

/** The request with its series replaced, in the form in which it had them. */
export function withSeries(request: FitRequest, change: (series: Experiment) => Experiment): FitRequest {
  const copy = { ...request };
  if (request.experiments?.length) copy.experiments = request.experiments.map(change);
  else if (request.data) copy.data = change({ ...request.data, name: request.data.name ?? "data" }) as Series;
  return copy;
}

/** The first and last time of all series, measurements, starts and doses included. */
export function timeRange(request: FitRequest): [number, number] {
  const times = seriesOf(request).flatMap((series) => [
    ...(series.times.length ? [series.times[0]!, series.times[series.times.length - 1]!] : []),
    ...(series.start_time === undefined ? [] : [series.start_time]),
  ]);
  return times.length ? [Math.min(...times), Math.max(...times)] : [0, 1];
}
