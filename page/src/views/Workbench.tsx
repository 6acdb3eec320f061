/** The workbench: a model, data and guesses on one side, the curve over the data on the other. */
import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { examples } from "virtual:gallery";
import { requestOf, submit, systems } from "../api/client";
import { ErrorText } from "../parts/ErrorText";
import { go } from "../parts/route";
import { Legend } from "../plots/Legend";
import { TimeFigure } from "../plots/TimeFigure";
import { timePanels } from "../plots/timePanels";
import * as draft from "../request/draft";
import { seriesOf } from "../request/series";
import { DataCard } from "./workbench/DataCard";
import { DoneCard } from "./workbench/DoneCard";
import { ModelCard } from "./workbench/ModelCard";
import { NoiseCard } from "./workbench/NoiseCard";
import { OptionsCard } from "./workbench/OptionsCard";
import { curves, isValid, shownRange, trouble, watch } from "./workbench/preview";
import { UnknownsCard } from "./workbench/UnknownsCard";

/** `source`: the key of an example, or `fit-ID` for the request of a fit; empty to go on with the draft. */
export function Workbench({ source }: { source: string }) {
  const error = useSignal<unknown>(null);
  useEffect(() => {
    const controller = new AbortController();
    load(source, controller.signal).catch((failure) => {
      if (!controller.signal.aborted) error.value = failure;
    });
    return () => controller.abort();
  }, [source]);
  useEffect(watch, []);
  return (
    <div class="workbench">
      <h1 class="only-read">Workbench</h1>
      <ErrorText error={error.value} />
      <div class="bench-columns">
        <div class="inputs">
          <ModelCard />
          <DataCard />
          <NoiseCard />
          <DoneCard />
        </div>
        <div class="stage">
          <Picture />
          <UnknownsCard />
          <OptionsCard />
        </div>
      </div>
    </div>
  );
}

async function load(source: string, stop: AbortSignal): Promise<void> {
  if (!source) return;
  if (!draft.catalogue.value.length) draft.catalogue.value = await systems(stop);
  const example = examples.find((one) => one.key === source);
  if (example) draft.open(await example.load(), example.title);
  else if (source.startsWith("fit-")) draft.open(await requestOf(source.slice(4), stop));
  window.history.replaceState(null, "", "#/model"); // so that coming back does not undo what was changed
}

function Picture() {
  const isSending = useSignal(false);
  const failure = useSignal<unknown>(null);
  const request = draft.request.value;
  const domain = shownRange();
  const integer = seriesOf(request).every((series) => series.times.every(Number.isInteger)) && domain[1] - domain[0] >= 4;
  const hasData = seriesOf(request).some((series) => Object.keys(series.values ?? {}).length > 0);
  const fit = async () => {
    isSending.value = true;
    failure.value = null;
    try {
      const { id } = await submit(draft.complete.value);
      go(`fits/${id}`);
    } catch (error) {
      failure.value = error;
    } finally {
      isSending.value = false;
    }
  };
  return (
    <section class="card picture" aria-label="The curve over the data">
      <div class="card-head">
        <h2>{draft.title.value || "At the guesses"}</h2>
        <button class="primary fit-button" type="button" disabled={isSending.value || isValid.value === false || !hasData} onClick={fit}>
          {isSending.value ? "Sending …" : "Fit"}
        </button>
      </div>
      <ErrorText error={failure.value} />
      {draft.definition.value.states.length === 0 && !hasData ? (
        <p class="empty">Write equations or choose a system, and bring your data: the curve appears here.</p>
      ) : (
        <>
          <Legend request={request} />
          <TimeFigure
            panels={timePanels(request, trouble.value ? [] : curves.value)}
            domain={domain}
            integer={integer}
            onExtend={(end) => (draft.until.value = end)}
          />
        </>
      )}
      <p class="note" role="status">
        {trouble.value}
      </p>
    </section>
  );
}
