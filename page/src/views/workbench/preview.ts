/** The curves at the guesses, computed by the service whenever the draft changes. */
import { effect, signal } from "@preact/signals";
import { simulate, ServiceError, systems, mistakesOf } from "../../api/client";
import { lost } from "../../api/connection";
import type { FitRequest } from "../../api/types";
import { curvesOf } from "../../fits/following";
import type { Curve } from "../../plots/timePanels";
import * as draft from "../../request/draft";
import { latest } from "../../request/latest";
import { seriesOf, timeRange } from "../../request/series";
import { simulationOf } from "../../request/simulation";

export const curves = signal<Curve[]>([]);
/** Why there are no curves, in words. */
export const trouble = signal("");
/** Whether the draft could be fitted; null while that is not known. */
export const isValid = signal<boolean | null>(null);

const EMPTY_END = 10;
const VALIDATION_PAUSE_MS = 300;
const RETRY_MS = 1000;
/** Errors that go away by themselves, such as while new equations are compiled. */
const PASSING = new Set(["simulation_timeout", "simulations_full", "no_worker", "too_busy", "store_unavailable"]);
let movedAt: number | null = null;

/** Note that a slider has just been moved: the time until the curve is drawn is measured from here. */
export function moved(): void {
  movedAt ??= performance.now();
}

/** Note that the curves are drawn. */
export function drawn(): void {
  if (movedAt === null) return;
  performance.measure("slider to curve", { start: movedAt, end: performance.now() });
  movedAt = null;
}

/** Simulate and validate the draft whenever it changes, until the returned function is called. */
export function watch(): () => void {
  const controller = new AbortController();
  if (!draft.catalogue.value.length)
    systems(controller.signal).then((found) => (draft.catalogue.value = found), () => undefined);
  let retry = 0;
  const simulation = latest<Record<string, unknown>, Curve[]>(
    async (body, stop) => curvesOf(await simulate(body, stop)),
    (found) => {
      curves.value = found;
      trouble.value = "";
      requestAnimationFrame(drawn);
    },
    (error, body) => {
      movedAt = null;
      trouble.value = explain(error);
      if (error instanceof ServiceError && PASSING.has(error.code)) retry = window.setTimeout(() => simulation.run(body), RETRY_MS);
    },
  );
  const validation = latest<FitRequest, Awaited<ReturnType<typeof mistakesOf>>>(
    (request, stop) => mistakesOf(request, stop),
    (found, request) => {
      if (request !== draft.complete.peek()) return; // changed meanwhile: the next answer comes
      draft.mistakes.value = found;
      isValid.value = found.length === 0;
    },
    () => (isValid.value = null),
  );
  let timer = 0;
  const stopWatching = effect(() => {
    const request = draft.complete.value;
    const until = draft.until.value;
    const isUnreachable = lost.value !== null; // read, so that the curves come back with the connection
    clearTimeout(timer);
    clearTimeout(retry);
    if (isUnreachable || !draft.definition.value.states.length) return;
    simulation.run(bodyOf(request, until));
    timer = window.setTimeout(() => validation.run(request), VALIDATION_PAUSE_MS);
  });
  return () => {
    stopWatching();
    clearTimeout(timer);
    clearTimeout(retry);
    simulation.stop();
    validation.stop();
    controller.abort();
  };
}

/** The simulation to show: only the ends of the series' times, as curves have their own fine grid. */
function bodyOf(request: FitRequest, until: number | null): Record<string, unknown> {
  if (!seriesOf(request).length) {
    const data = { times: [0, until ?? EMPTY_END], values: {} };
    return simulationOf({ ...request, data }, {});
  }
  const ends = (times: number[]) => (times.length > 1 ? [times[0]!, times[times.length - 1]!] : times);
  const short = { ...request };
  if (request.experiments?.length) short.experiments = request.experiments.map((one) => ({ ...one, times: ends(one.times) }));
  else if (request.data) short.data = { ...request.data, times: ends(request.data.times) };
  return simulationOf(short, {}, until ?? undefined);
}

/** What the figure shows on its time axis. */
export function shownRange(): [number, number] {
  const request = draft.request.value;
  const [from, to] = seriesOf(request).length ? timeRange(request) : [0, EMPTY_END];
  return [from, Math.max(draft.until.value ?? to, from + 1e-9)];
}

function explain(error: unknown): string {
  if (!(error instanceof ServiceError)) return error instanceof Error ? error.message : String(error);
  if (error.code === "simulation_timeout") return "These equations are new: the service compiles them …";
  if (error.code === "invalid_request") return "The curve appears when the model is complete.";
  return error.message;
}
