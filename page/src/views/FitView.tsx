/** One fit: live while it runs, then its result. */
import { useComputed, useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { cancel, ServiceError } from "../api/client";
import type { Fit, FitRequest, FitResult } from "../api/types";
import { hasEnded, useFit, type FollowedFit } from "../fits/following";
import { outcomeWords, stageWords, statusWords } from "../fits/words";
import { announce } from "../parts/announce";
import { ErrorText } from "../parts/ErrorText";
import { Numbers } from "../parts/Numbers";
import { Legend } from "../plots/Legend";
import { text } from "../plots/scales";
import { TimeFigure } from "../plots/TimeFigure";
import { predictionCurve, timePanels, type Curve } from "../plots/timePanels";
import { seriesOf, timeRange } from "../request/series";
import { Actions } from "./result/Actions";
import { useBeyond } from "./result/beyond";
import { Estimates } from "./result/Estimates";
import { LossCurve, PhasePlane, Profiles, Residuals, Starts } from "./result/Diagnostics";
import { Summary } from "./result/Summary";
import { Warnings } from "./result/Warnings";

export function FitView({ id }: { id: string }) {
  const followed = useFit(id);
  const fit = followed.fit.value;
  const request = followed.request.value;
  useEffect(() => {
    if (fit && hasEnded(fit)) announce(endWords(fit));
  }, [fit?.status]);
  if (followed.error.value) return <Unavailable error={followed.error.value} />;
  if (!fit || !request) return <p class="loading">Loading the fit …</p>;
  const result = fit.result;
  return (
    <article class="fit">
      <Head fit={fit} request={request} followed={followed} />
      {fit.error && <p class="problem">{fit.error.detail}</p>}
      <div class="fit-columns">
        <section class="card wide" id="trajectories" aria-label="Trajectories">
          <MainFigure fit={fit} request={request} followed={followed} />
        </section>
        <div class="side">
          {result ? <Summary result={result} /> : <Live followed={followed} fit={fit} />}
          {result && <Warnings warnings={result.warnings} />}
          {result && <Estimates result={result} />}
        </div>
      </div>
      <div class="pictures">
        <LossCurve losses={followed.losses.value} />
        {result && <Residuals result={result} />}
        <PhasePlane request={request} curves={result ? curvesOfResult(result) : followed.curves.value} />
        {result?.profiles && <Profiles profiles={result.profiles} result={result} />}
        {result && <Starts result={result} />}
      </div>
    </article>
  );
}

function Unavailable({ error }: { error: unknown }) {
  const isGone = error instanceof ServiceError && error.status === 404;
  return (
    <section class="empty">
      <h1>{isGone ? "This fit is not here any more" : "This fit cannot be shown"}</h1>
      <ErrorText error={error} />
      <p>
        <a class="button" href="#/">
          Back to the examples
        </a>
      </p>
    </section>
  );
}

function endWords(fit: Fit): string {
  const outcome = fit.result?.outcome;
  return `The fit has ended: ${statusWords(fit.status)}. ${outcome ? outcome.message : (fit.error?.detail ?? "")}`;
}

/** A title from the labels, the system or the series. */
export function titleOf(fit: Fit): string {
  return fit.labels.example ?? fit.labels.title ?? (fit.system === "custom" ? "Own equations" : fit.system);
}

function Head({ fit, request, followed }: { fit: Fit; request: FitRequest; followed: FollowedFit }) {
  const isCancelling = useSignal(false);
  const failure = useSignal<unknown>(null);
  const outcome = fit.result?.outcome.code;
  const stop = async () => {
    isCancelling.value = true;
    try {
      await cancel(fit.id);
    } catch (error) {
      failure.value = error;
      isCancelling.value = false;
    }
  };
  const series = seriesOf(request);
  return (
    <header class="fit-head">
      <div>
        <h1>{titleOf(fit)}</h1>
        <p class="facts">
          <span class={`pill ${fit.status} ${outcome ?? ""}`}>
            {outcome && fit.status === "succeeded" ? outcomeWords(outcome) : statusWords(fit.status)}
          </span>
          <span>{series.length > 1 ? `${series.length} experiments` : (series[0]?.name ?? "")}</span>
          {fit.result && <span>{fit.result.observations} measurements</span>}
          {seconds(fit) && <span>{seconds(fit)}</span>}
        </p>
        <ErrorText error={failure.value} />
      </div>
      {!hasEnded(fit) && (
        <button class="danger" type="button" disabled={isCancelling.value} onClick={stop}>
          {isCancelling.value ? "Stopping …" : "Stop and keep the best"}
        </button>
      )}
      {hasEnded(fit) && <Actions fit={fit} request={request} title={titleOf(fit)} />}
      {!hasEnded(fit) && <ProgressBar followed={followed} />}
    </header>
  );
}

function seconds(fit: Fit): string {
  if (!fit.started_at || !fit.finished_at) return "";
  const passed = (Date.parse(fit.finished_at) - Date.parse(fit.started_at)) / 1000;
  return `${passed < 10 ? passed.toFixed(1) : passed.toFixed(0)} s`;
}

function ProgressBar({ followed }: { followed: FollowedFit }) {
  const fraction = useComputed(() => followed.progress.value?.fraction ?? 0);
  return <progress max={1} value={fraction.value} aria-label="Progress of the fit" />;
}

function Live({ followed, fit }: { followed: FollowedFit; fit: Fit }) {
  const progress = followed.progress.value;
  if (!progress)
    return (
      <section class="card">
        <h2>{fit.status === "queued" ? "Waiting for a free worker" : "Preparing"}</h2>
        <p class="note">Equations that are new are compiled first, which takes some seconds.</p>
      </section>
    );
  return (
    <section class="card">
      <h2>{stageWords(progress.stage)}</h2>
      <Numbers
        entries={[
          ["Loss", text(progress.loss, 6)],
          ["Step", `${progress.step} of ${progress.steps}`],
          ...Object.entries({ ...progress.parameters, ...progress.initial_state })
            .slice(0, 40)
            .map(([name, value]): [string, string] => [name, text(value, 5)]),
        ]}
      />
    </section>
  );
}

/** The trajectories and predictions of a result, as curves. */
export function curvesOfResult(result: FitResult): Curve[] {
  return result.trajectories.map((trajectory, series) => ({ series, dense: trajectory.dense, label: trajectory.name }));
}

function MainFigure({ fit, request, followed }: { fit: Fit; request: FitRequest; followed: FollowedFit }) {
  const { result } = fit;
  const { beyond, extend } = useBeyond(fit, request);
  const curves = result ? [...curvesOfResult(result), ...continuing(request, result), ...beyond.curves] : followed.curves.value;
  const range = timeRange(request);
  const ends = curves.map((curve) => curve.dense.times[curve.dense.times.length - 1] ?? range[1]);
  const domain: [number, number] = [range[0], beyond.end ?? Math.max(range[1], ...ends)];
  const integer = seriesOf(request).every((series) => series.times.every(Number.isInteger)) && domain[1] - domain[0] >= 4;
  const heldOutAfter = (request.hold_out as { after?: number } | undefined)?.after;
  return (
    <>
      <Legend request={request} />
      <TimeFigure
        panels={timePanels(request, curves, heldOutAfter)}
        domain={domain}
        integer={integer}
        onExtend={result && extend}
      />
      {result && <p class="note">{beyond.words || "Drag the arrow at the end of the time axis to predict further."}</p>}
      <ErrorText error={beyond.error} />
    </>
  );
}

/** Predictions that continue a series, and what was held out: those that share the data's time axis. */
function continuing(request: FitRequest, result: FitResult): Curve[] {
  const names = seriesOf(request).map((series) => series.name);
  const own = new Map((request.predictions ?? []).map((prediction) => [prediction.name, prediction]));
  const curves = (result.predictions ?? [])
    .filter((prediction) => own.get(prediction.name)?.initial_state === undefined)
    .map((prediction) => predictionCurve(prediction, Math.max(0, names.indexOf(own.get(prediction.name)?.experiment ?? ""))));
  const held = (result.hold_out ?? []).map((one) => predictionCurve(one, Math.max(0, names.indexOf(one.name))));
  return [...curves, ...held].filter((curve) => curve !== null);
}
