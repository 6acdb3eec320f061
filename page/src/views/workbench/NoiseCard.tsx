/** How the measurements scatter, in words. */
import type { Noise } from "../../api/types";
import * as draft from "../../request/draft";
import { seriesOf } from "../../request/series";

const CHOICES: { key: string; label: string; noise: Noise | null }[] = [
  { key: "none", label: "Plain least squares", noise: null },
  { key: "even", label: "By the same amount everywhere", noise: { distribution: "normal", sigma: "estimate" } },
  { key: "relative", label: "In proportion to the value", noise: { distribution: "lognormal", sigma: "estimate" } },
  { key: "both", label: "A fixed part and a proportional part", noise: { distribution: "normal", sigma: "estimate", proportional: "estimate" } },
  { key: "outliers", label: "Evenly, with outliers", noise: { distribution: "student-t", sigma: "estimate" } },
  { key: "laplace", label: "With heavy tails (Laplace)", noise: { distribution: "laplace", sigma: "estimate" } },
  { key: "counts", label: "They are counts (Poisson)", noise: { distribution: "poisson" } },
  { key: "given", label: "By the errors in the table", noise: { distribution: "normal" } },
] as { key: string; label: string; noise: Noise | null }[];

export function NoiseCard() {
  const { noise } = draft.request.value;
  const measured = [...new Set(seriesOf(draft.request.value).flatMap((series) => Object.keys(series.values ?? {})))];
  if (!measured.length) return null;
  const choose = (name: string, key: string) => {
    const chosen = CHOICES.find((choice) => choice.key === key)?.noise;
    if (!chosen) draft.change({ noise: undefined });
    else {
      const others = Object.fromEntries(measured.map((one) => [one, draft.request.value.noise?.[one] ?? chosen]));
      draft.change({ noise: { ...others, [name]: chosen } });
    }
  };
  return (
    <section class="card" aria-labelledby="noise-title">
      <h2 id="noise-title">Noise</h2>
      <p class="note">How do the measurements scatter around the true curve?</p>
      <div class="rows">
        {measured.map((name) => (
          <label key={name} class="row">
            <span class="unknown-name">{name}</span>
            <select value={keyOf(noise?.[name])} onChange={(event) => choose(name, event.currentTarget.value)}>
              {keyOf(noise?.[name]) === "other" && <option value="other">as in the request</option>}
              {CHOICES.map((choice) => (
                <option key={choice.key} value={choice.key}>
                  {choice.label}
                </option>
              ))}
            </select>
          </label>
        ))}
      </div>
      {draft.mistakes.value
        .filter(({ pointer = "" }) => pointer.startsWith("/noise"))
        .map((mistake) => (
          <p key={mistake.pointer} class="mistake">
            {mistake.detail}
          </p>
        ))}
    </section>
  );
}

function keyOf(noise: Noise | undefined): string {
  if (!noise) return "none";
  const plain = (one: object) => JSON.stringify(Object.entries(one).sort());
  return CHOICES.find((choice) => choice.noise && plain(choice.noise) === plain(noise))?.key ?? "other";
}
