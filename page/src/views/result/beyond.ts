/** The model beyond the data: at once while the end of the time axis is dragged, with bands when it is let go. */
import { useSignal } from "@preact/signals";
import { useEffect, useMemo } from "preact/hooks";
import { readFit, simulate, systems } from "../../api/client";
import { follow } from "../../api/events";
import type { Fit, FitRequest, FitResult } from "../../api/types";
import { curvesOf } from "../../fits/following";
import { start, withPredictions } from "../../fits/repeating";
import { predictionCurve, type Curve } from "../../plots/timePanels";
import { latest } from "../../request/latest";
import { timeRange } from "../../request/series";
import { simulationOf, spelledOut, type Point } from "../../request/simulation";

export interface Beyond {
  /** The end of the time axis, if it was moved. */
  end: number | null;
  curves: Curve[];
  words: string;
  error: unknown;
}

const NOTHING: Beyond = { end: null, curves: [], words: "", error: null };

export function useBeyond(fit: Fit, request: FitRequest): { beyond: Beyond; extend: (end: number, isDone: boolean) => void } {
  const beyond = useSignal<Beyond>(NOTHING);
  const controller = useMemo(() => new AbortController(), [fit.id]);
  const preview = useMemo(
    () =>
      latest<number, Curve[]>(
        async (end, stop) => {
          const spelled = await spelledOut(request, () => systems(stop));
          return curvesOf(await simulate(simulationOf(trained(spelled, fit.result!), pointOfResult(fit.result!), end), stop));
        },
        (curves) => (beyond.value = { ...beyond.value, curves: curves.map((curve) => ({ ...curve, dashed: true })) }),
        () => undefined, // what cannot be solved is reported by the prediction
      ),
    [fit.id],
  );
  useEffect(
    () => () => {
      controller.abort();
      preview.stop();
    },
    [fit.id],
  );
  const extend = (wanted: number, isDone: boolean) => {
    const [, last] = timeRange(request);
    const end = Math.max(last, Number(wanted.toPrecision(5)));
    if (end === last) {
      beyond.value = NOTHING;
      return;
    }
    beyond.value = { ...beyond.value, end, words: "", error: null };
    preview.run(end);
    if (isDone) void predict(end);
  };
  const predict = async (end: number) => {
    beyond.value = { ...beyond.value, words: "Computing the band of the prediction …" };
    try {
      const id = await start(withPredictions(fit, request, fit.labels.title ?? fit.labels.example ?? fit.system, end));
      for await (const event of follow(id, controller.signal)) if (event.kind === "finished") break;
      const { result, error } = await readFit(id, controller.signal);
      if (beyond.value.end !== end) return; // dragged on meanwhile
      const curves = (result?.predictions ?? []).flatMap((prediction, series) => predictionCurve(prediction, series) ?? []);
      const failed = error?.detail ?? result?.predictions?.find((one) => one.error)?.error?.detail;
      beyond.value = { end, curves, words: "Dashed: the prediction, with its 95 % band of the model's value.", error: failed && new Error(failed) };
    } catch (error) {
      if (!controller.signal.aborted) beyond.value = { ...beyond.value, words: "", error };
    }
  };
  return { beyond: beyond.value, extend };
}

/** The request with the weights of the result as those with which its networks start. */
function trained(request: FitRequest, result: FitResult): FitRequest {
  if (!result.networks) return request;
  const networks = Object.entries(result.networks).map(([name, { sampled: _, ...start }]) => [name, { start }] as const);
  return { ...request, networks: Object.fromEntries(networks) as FitRequest["networks"] };
}

/** The best point of a result: parameters and initial values, also those of single experiments. */
export function pointOfResult(result: FitResult): Point {
  const point: Point = {};
  const several = result.trajectories.length > 1;
  for (const [name, estimate] of Object.entries({ ...result.initial_state, ...result.parameters })) point[name] = estimate.value;
  for (const trajectory of result.trajectories) {
    const suffix = several ? `[${trajectory.name}]` : "";
    for (const [name, estimate] of Object.entries(trajectory.initial_state)) point[name + suffix] = estimate.value;
    for (const [name, estimate] of Object.entries(trajectory.parameters ?? {})) point[name + suffix] = estimate.value;
  }
  return point;
}

