/** Several fits side by side: their curves over the data of the first, and their numbers in columns. */
import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { readFit, requestOf } from "../api/client";
import type { Fit, FitRequest } from "../api/types";
import { outcomeWords } from "../fits/words";
import { ErrorText } from "../parts/ErrorText";
import { colourOf } from "../plots/colours";
import { estimateText, text } from "../plots/scales";
import { TimeFigure } from "../plots/TimeFigure";
import { timePanels } from "../plots/timePanels";
import { timeRange } from "../request/series";
import { curvesOfResult, titleOf } from "./FitView";
import { estimateGroups } from "./result/Estimates";

const MOST = 6;

interface Compared {
  fit: Fit;
  request: FitRequest;
}

export function Compare({ ids }: { ids: string[] }) {
  const compared = useSignal<Compared[] | null>(null);
  const error = useSignal<unknown>(null);
  useEffect(() => {
    const controller = new AbortController();
    Promise.all(
      ids.slice(0, MOST).map(async (id) => ({
        fit: await readFit(id, controller.signal),
        request: await requestOf(id, controller.signal),
      })),
    ).then(
      (found) => (compared.value = found),
      (failure) => {
        if (!controller.signal.aborted) error.value = failure;
      },
    );
    return () => controller.abort();
  }, [ids.join()]);
  if (error.value) return <ErrorText error={error.value} />;
  if (!compared.value) return <p class="loading">Loading the fits …</p>;
  const all = compared.value;
  const withResult = all.filter((one) => one.fit.result);
  if (!withResult.length) return <p class="empty">None of these fits has a result yet.</p>;
  const colours = all.map((_, i) => colourOf(i, all.length));
  const curves = all.flatMap(({ fit }, i) =>
    fit.result ? curvesOfResult(fit.result).map((curve) => ({ ...curve, colour: colours[i]!, dashed: i > 0, label: titleOf(fit) })) : [],
  );
  return (
    <article class="fit">
      <h1>Compare {all.length} fits</h1>
      <section class="card" aria-label="Trajectories">
        <ul class="legend">
          {all.map(({ fit }, i) => (
            <li key={fit.id}>
              <svg width="28" height="10" aria-hidden="true">
                <line x1="0" x2="28" y1="5" y2="5" stroke={colours[i]} stroke-width="3" stroke-dasharray={i ? "6 4" : undefined} />
              </svg>
              <a href={`#/fits/${fit.id}`}>{titleOf(fit)}</a>
            </li>
          ))}
        </ul>
        <TimeFigure panels={timePanels(all[0]!.request, curves)} domain={timeRange(all[0]!.request)} />
      </section>
      <section class="card" aria-labelledby="numbers-title">
        <h2 id="numbers-title">Numbers</h2>
        <p class="note">AIC and BIC can be compared if all fits have the same data. Lower is better; a difference of 2 is little, one of 10 is much.</p>
        <Numbers all={all} />
      </section>
    </article>
  );
}

function Numbers({ all }: { all: Compared[] }) {
  const results = all.map(({ fit }) => fit.result);
  const estimates = results.map((result) => new Map((result ? estimateGroups(result) : []).flatMap((group) => group.rows.map((row) => [`${group.title}: ${row.name}`, row] as const))));
  const names = [...new Set(estimates.flatMap((one) => [...one.keys()]))];
  const least = (values: (number | undefined)[]) => Math.min(...values.filter((value) => value !== undefined));
  const criteria: [string, (number | undefined)[]][] = [
    ["Loss", results.map((result) => result?.loss)],
    ["AIC", results.map((result) => result?.statistics.aic)],
    ["BIC", results.map((result) => result?.statistics.bic)],
    ["Measurements", results.map((result) => result?.observations)],
  ];
  return (
    <div class="scrolled" tabIndex={0} role="region" aria-label="Table of the compared fits">
      <table class="estimates">
        <thead>
          <tr>
            <th scope="col">Fit</th>
            {all.map(({ fit }) => (
              <th key={fit.id} scope="col">
                {titleOf(fit)}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          <tr>
            <th scope="row">Outcome</th>
            {results.map((result, i) => (
              <td key={i}>{result ? outcomeWords(result.outcome.code) : "–"}</td>
            ))}
          </tr>
          {criteria.map(([name, values]) => (
            <tr key={name}>
              <th scope="row">{name}</th>
              {values.map((value, i) => (
                <td key={i} class={name !== "Measurements" && value === least(values) ? "best" : undefined}>
                  {text(value, 6)}
                </td>
              ))}
            </tr>
          ))}
          {names.map((name) => (
            <tr key={name}>
              <th scope="row">{name.replace(/^\w[\w ]*: /, "")}</th>
              {estimates.map((one, i) => {
                const estimate = one.get(name)?.estimate;
                return (
                  <td key={i}>
                    {estimate ? estimateText(estimate.value, estimate.standard_error) : "–"}
                    {estimate?.standard_error !== undefined && <span class="note"> ± {text(estimate.standard_error, 2)}</span>}
                  </td>
                );
              })}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
