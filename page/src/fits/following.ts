/** A fit as it is now: its request, its progress while it runs, and its result. */
import { signal, type Signal } from "@preact/signals";
import { useEffect, useMemo } from "preact/hooks";
import * as client from "../api/client";
import { follow } from "../api/events";
import type { Fit, FitRequest, Progress } from "../api/types";
import { latest } from "../request/latest";
import { simulationOf, spelledOut, type Point } from "../request/simulation";
import type { Curve } from "../plots/timePanels";

export interface FollowedFit {
  fit: Signal<Fit | null>;
  request: Signal<FitRequest | null>;
  progress: Signal<Progress | null>;
  losses: Signal<[number, number][]>;
  /** The model at the best point so far, while the fit runs. */
  curves: Signal<Curve[]>;
  error: Signal<unknown>;
}

const ENDED = new Set(["succeeded", "failed", "cancelled"]);
const MOST_LOSSES = 4000;

export function hasEnded(fit: Fit): boolean {
  return ENDED.has(fit.status);
}

/** Follow a fit until it ends or the view is left. */
export function useFit(id: string): FollowedFit {
  const followed = useMemo<FollowedFit>(
    () => ({
      fit: signal(null),
      request: signal(null),
      progress: signal(null),
      losses: signal([]),
      curves: signal([]),
      error: signal(null),
    }),
    [id],
  );
  useEffect(() => {
    const controller = new AbortController();
    run(id, followed, controller.signal).catch((error) => {
      if (!controller.signal.aborted) followed.error.value = error;
    });
    return () => controller.abort();
  }, [id]);
  return followed;
}

async function run(id: string, followed: FollowedFit, stop: AbortSignal): Promise<void> {
  const [fit, request] = await Promise.all([client.readFit(id, stop), client.requestOf(id, stop)]);
  followed.request.value = request;
  followed.fit.value = fit;
  const simulated = await spelledOut(request, () => client.systems(stop));
  const preview = latest<Point, Curve[]>(
    async (point, signal) => curvesOf(await client.simulate(simulationOf(simulated, point), signal)),
    (curves) => (followed.curves.value = curves),
    () => undefined, // the fit goes on, and its next point may be one that can be solved
  );
  stop.addEventListener("abort", preview.stop);
  const isLive = !hasEnded(fit) && !hasNetworks(request);
  if (isLive) preview.run({});
  for await (const event of follow(id, stop)) {
    if (event.kind === "finished") break;
    note(followed, event.data);
    if (isLive) preview.run(pointOf(event.data));
  }
  preview.stop();
  if (!hasEnded(fit)) followed.fit.value = await client.readFit(id, stop);
}

/** Whether a model has networks: the weights of a running fit are not known here, so there is no curve until its end. */
export function hasNetworks(request: FitRequest): boolean {
  return typeof request.system === "object" && Object.keys(request.system.networks ?? {}).length > 0;
}

function note(followed: FollowedFit, progress: Progress): void {
  followed.progress.value = progress;
  const fit = followed.fit.value;
  if (fit?.status === "queued") followed.fit.value = { ...fit, status: "running" };
  const losses = [...followed.losses.value, ...progress.losses];
  followed.losses.value = losses.length > MOST_LOSSES ? losses.filter((_, i) => i % 2 === 0) : losses;
}

function pointOf(progress: Progress): Point {
  return { ...progress.parameters, ...progress.initial_state };
}

/** The trajectories of a simulation, as curves. */
export function curvesOf(simulation: Awaited<ReturnType<typeof client.simulate>>): Curve[] {
  return simulation.trajectories.flatMap((trajectory, series) =>
    trajectory.dense ? [{ series, dense: trajectory.dense, label: trajectory.name }] : [],
  );
}
