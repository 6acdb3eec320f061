/** What the fit shall do, and the request itself for everything that has no field of its own. */
import { useSignal } from "@preact/signals";
import type { FitRequest } from "../../api/types";
import * as draft from "../../request/draft";
import { NumberField } from "./UnknownsCard";

export function OptionsCard() {
  const { uncertainty = "none", starts, hold_out } = draft.request.value;
  const after = (hold_out as { after?: number } | undefined)?.after;
  return (
    <section class="card" aria-labelledby="options-title">
      <h2 id="options-title">Fit</h2>
      <div class="rows">
        <label class="row">
          Intervals
          <select
            value={uncertainty}
            onChange={(event) => draft.change({ uncertainty: event.currentTarget.value as FitRequest["uncertainty"] })}
          >
            <option value="none">none</option>
            <option value="covariance">from standard errors (quick)</option>
            <option value="profile">from profiles (slow, and right for skewed ones)</option>
          </select>
        </label>
        <label class="row">
          Starts
          <NumberField
            label="Number of starts"
            value={starts}
            placeholder="chosen"
            onValue={(value) => draft.change({ starts: value ?? undefined })}
          />
        </label>
        <label class="row">
          Hold out data after
          <NumberField
            label="Hold out data after this time"
            value={after}
            placeholder="none"
            onValue={(value) => draft.change({ hold_out: value === null ? undefined : ({ after: value } as FitRequest["hold_out"]) })}
          />
        </label>
      </div>
      <General />
      <Json />
    </section>
  );
}

const PLACED = /^\/(system|data|experiments|parameters|initial_state|noise)\b/;

/** Mistakes that stand at no other card. */
function General() {
  const rest = draft.mistakes.value.filter(({ pointer = "" }) => !PLACED.test(pointer));
  return (
    <ul class="mistakes" aria-live="polite">
      {rest.map((mistake) => (
        <li key={mistake.pointer}>
          {mistake.detail} {mistake.pointer && <code>{mistake.pointer}</code>}
        </li>
      ))}
    </ul>
  );
}

function Json() {
  const isOpen = useSignal(false);
  const problem = useSignal("");
  return (
    <details class="help" onToggle={(event) => (isOpen.value = event.currentTarget.open)}>
      <summary>The whole request as JSON</summary>
      {isOpen.value && (
        <>
          <textarea
            aria-label="The request as JSON"
            class="json"
            rows={16}
            spellcheck={false}
            value={JSON.stringify(draft.complete.value, null, 1)}
            onChange={(event) => {
              try {
                draft.open(JSON.parse(event.currentTarget.value) as FitRequest, draft.title.value);
                problem.value = "";
              } catch (error) {
                problem.value = `This is not JSON: ${(error as Error).message}`;
              }
            }}
          />
          {problem.value && (
            <p class="problem" role="alert">
              {problem.value}
            </p>
          )}
        </>
      )}
    </details>
  );
}
