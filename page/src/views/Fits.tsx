/** The list of fits, newest first, and the choice of those to compare. */
import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { listFits } from "../api/client";
import type { Fit } from "../api/types";
import { statusWords } from "../fits/words";
import { ErrorText } from "../parts/ErrorText";
import { go } from "../parts/route";
import { text } from "../plots/scales";
import { titleOf } from "./FitView";

export function Fits() {
  const fits = useSignal<Fit[] | null>(null);
  const cursor = useSignal<string | undefined>(undefined);
  const chosen = useSignal<string[]>([]);
  const error = useSignal<unknown>(null);
  const load = async (from?: string, stop?: AbortSignal) => {
    try {
      const page = await listFits(from, stop);
      fits.value = [...(from ? (fits.value ?? []) : []), ...page.fits];
      cursor.value = page.next_cursor;
    } catch (failure) {
      if (!stop?.aborted) error.value = failure;
    }
  };
  useEffect(() => {
    const controller = new AbortController();
    void load(undefined, controller.signal);
    return () => controller.abort();
  }, []);
  const toggle = (id: string) =>
    (chosen.value = chosen.value.includes(id) ? chosen.value.filter((one) => one !== id) : [...chosen.value, id]);
  return (
    <section class="fits">
      <div class="card-head">
        <h1>Fits</h1>
        <button class="primary" type="button" disabled={chosen.value.length < 2} onClick={() => go(`compare/${chosen.value.join(",")}`)}>
          Compare {chosen.value.length > 1 ? chosen.value.length : ""}
        </button>
      </div>
      <ErrorText error={error.value} />
      {fits.value?.length === 0 && <p class="empty">There are none yet. Fit an example, or your own data.</p>}
      {fits.value !== null && fits.value.length > 0 && (
        <div class="card scrolled tall" tabIndex={0} role="region" aria-label="Table of fits">
          <table>
            <thead>
              <tr>
                <th scope="col">Compare</th>
                <th scope="col">Fit</th>
                <th scope="col">Status</th>
                <th scope="col">Loss</th>
                <th scope="col">Submitted</th>
              </tr>
            </thead>
            <tbody>
              {fits.value.map((fit) => (
                <tr key={fit.id}>
                  <td>
                    <input
                      type="checkbox"
                      aria-label={`Compare ${titleOf(fit)}`}
                      checked={chosen.value.includes(fit.id)}
                      onChange={() => toggle(fit.id)}
                    />
                  </td>
                  <td>
                    <a href={`#/fits/${fit.id}`}>{titleOf(fit)}</a>
                  </td>
                  <td>
                    <span class={`pill ${fit.status}`}>{statusWords(fit.status)}</span>
                  </td>
                  <td>{text(fit.progress?.loss, 5)}</td>
                  <td>{new Date(fit.created_at).toLocaleString()}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      {cursor.value && (
        <p class="actions">
          <button type="button" onClick={() => load(cursor.value)}>
            Older fits
          </button>
        </p>
      )}
    </section>
  );
}
