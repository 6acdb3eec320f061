/** The outcome of a fit in a few lines. */
import type { ComponentChildren } from "preact";
import type { FitResult } from "../../api/types";
import { outcomeWords } from "../../fits/words";
import { Numbers } from "../../parts/Numbers";
import { text } from "../../plots/scales";

export function Summary({ result }: { result: FitResult }) {
  const { statistics, outcome } = result;
  return (
    <section class="card" aria-labelledby="outcome-title">
      <h2 id="outcome-title">{outcomeWords(outcome.code)}</h2>
      <p class="note">{sentence(outcome.message)}</p>
      <Numbers
        entries={[
          ["Loss", text(result.loss, 6)],
          ...criterion("AIC", "Akaike's information criterion: lower is better", statistics.aic),
          ...criterion("BIC", "Bayesian information criterion: lower is better", statistics.bic),
          ...Object.entries(statistics.r_squared).map(([name, r]): [string, string] => [`R² of ${name}`, r.toFixed(4)]),
        ]}
      />
    </section>
  );
}

function criterion(name: string, meaning: string, value: number | undefined): [ComponentChildren, string][] {
  return value === undefined ? [] : [[<abbr title={meaning}>{name}</abbr>, text(value, 5)]];
}

/** Words as a sentence: with a capital, and a full stop. */
export function sentence(words: string): string {
  const begun = words.charAt(0).toUpperCase() + words.slice(1);
  return /[.!?]$/.test(begun) ? begun : `${begun}.`;
}
