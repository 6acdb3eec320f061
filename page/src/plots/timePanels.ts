/** What the panels over time show: for each observable its curves and measurements. */
import type { Dense, FitRequest, PredictionResult, Values } from "../api/types";
import { seriesOf } from "../request/series";
import { COLOURS, DATA_COLOUR, colourOf } from "./colours";
import type { Layer } from "./Panel";

/** A trajectory to draw over the measurements. `series`: the position of the experiment it belongs to. */
export interface Curve {
  series: number;
  dense: Dense;
  dashed?: boolean;
  colour?: string;
  lower?: Record<string, Values>;
  upper?: Record<string, Values>;
  label: string;
}

export interface TimePanel {
  name: string;
  layers: Layer[];
}

/** The names that a figure shows: the observables of the curves, or where there are none those measured. */
export function observablesOf(request: FitRequest, curves: Curve[]): string[] {
  const measured = seriesOf(request).flatMap((series) => Object.keys(series.values ?? {}));
  const drawn = curves.flatMap((curve) => Object.keys(curve.dense.values));
  return [...new Set([...drawn, ...measured])];
}

/** The panels, with measurements in front of bands and behind curves. `heldOutAfter`: later data are drawn hollow. */
export function timePanels(request: FitRequest, curves: Curve[], heldOutAfter = Infinity): TimePanel[] {
  const series = seriesOf(request);
  const several = series.length > 1;
  const colour = (position: number) => (several ? colourOf(position, series.length) : COLOURS[0]!);
  return observablesOf(request, curves).map((name) => {
    const bands: Layer[] = [];
    const dots: Layer[] = [];
    const lines: Layer[] = [];
    const instants = new Set<number>();
    series.forEach((one, position) => {
      for (const at of instantsOf(one)) instants.add(at);
      const y = one.values?.[name];
      if (!y) return;
      const common = { kind: "dots" as const, colour: several ? colour(position) : DATA_COLOUR, label: one.name };
      const split = one.times.findIndex((time) => time > heldOutAfter);
      const end = split < 0 ? one.times.length : split;
      const sigma = sigmaOf(one.sigma?.[name], one.times.length);
      dots.push({ ...common, x: one.times.slice(0, end), y: y.slice(0, end), sigma: sigma?.slice(0, end) });
      if (split >= 0) dots.push({ ...common, x: one.times.slice(end), y: y.slice(end), hollow: true });
    });
    for (const curve of curves) {
      const y = curve.dense.values[name];
      if (!y) continue;
      const stroke = curve.colour ?? colour(curve.series);
      lines.push({ kind: "line", x: curve.dense.times, y, colour: stroke, dashed: curve.dashed, label: curve.label });
      const [lower, upper] = [curve.lower?.[name], curve.upper?.[name]];
      if (lower && upper) bands.push({ kind: "band", x: curve.dense.times, lower, upper, colour: stroke });
    }
    const marks: Layer[] = instants.size && instants.size <= 100 ? [{ kind: "vertical", x: [...instants] }] : [];
    return { name, layers: [...marks, ...bands, ...dots, ...lines] };
  });
}

/** A prediction as a curve, with its band. */
export function predictionCurve(prediction: PredictionResult, series: number, colour?: string): Curve | null {
  if (prediction.error || !prediction.values) return null;
  const dense = { times: prediction.times, states: prediction.states ?? {}, values: prediction.values } as Dense;
  const { lower_95: lower, upper_95: upper } = prediction;
  return { series, dense, dashed: true, lower, upper, colour, label: prediction.name };
}

function sigmaOf(entry: unknown, count: number): Values | undefined {
  if (typeof entry === "number") return Array<number>(count).fill(entry);
  return Array.isArray(entry) ? (entry as Values) : undefined;
}

function instantsOf(series: { doses?: unknown[]; changes?: unknown[] }): number[] {
  const times: number[] = [];
  for (const done of [...(series.doses ?? []), ...(series.changes ?? [])] as Record<string, unknown>[]) {
    const { at, every, count } = done;
    for (const first of Array.isArray(at) ? at : [at]) {
      if (typeof first !== "number") continue;
      const repeats = typeof every === "number" && typeof count === "number" ? count : 1;
      for (let i = 0; i < repeats; i++) times.push(first + i * (repeats > 1 ? (every as number) : 0));
    }
  }
  return times;
}
