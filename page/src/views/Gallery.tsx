/** The first view: examples, each one click from a fitted result. */
import { useSignal } from "@preact/signals";
import { examples, type Example } from "virtual:gallery";
import { submit } from "../api/client";
import { ErrorText } from "../parts/ErrorText";
import { go } from "../parts/route";
import { COLOURS } from "../plots/colours";

export function Gallery() {
  const started = useSignal<string | null>(null);
  const error = useSignal<unknown>(null);
  const start = async (example: Example) => {
    if (started.value) return;
    started.value = example.key;
    error.value = null;
    try {
      const request = await example.load();
      const asked = request.uncertainty ? request : { ...request, uncertainty: "covariance" as const };
      const fit = await submit({ ...asked, labels: { ...request.labels, example: example.title } });
      go(`fits/${fit.id}`);
    } catch (failure) {
      error.value = failure;
    } finally {
      started.value = null;
    }
  };
  return (
    <>
      <section class="hero">
        <h1>Fit differential equations to what you measured</h1>
        <p>
          Bring a table and your equations, move the unknowns until the curve is roughly right, and press Fit. Or begin
          with an example: one click fits it.
        </p>
        <p>
          <a class="button primary" href="#/model">
            Fit my own data
          </a>
        </p>
      </section>
      <ErrorText error={error.value} />
      <ul class="gallery" aria-label="Examples">
        {examples.map((example) => (
          <li key={example.key} class="card example">
            <Thumbnail dots={example.thumbnail} />
            <h2>{example.title}</h2>
            <p>{example.text}</p>
            <p class="tags">
              {example.tags.map((tag) => (
                <span key={tag}>{tag}</span>
              ))}
            </p>
            <p class="actions">
              <button class="primary" type="button" disabled={started.value !== null} onClick={() => start(example)}>
                {started.value === example.key ? "Sending …" : "Fit"}
                <span class="only-read"> {example.title}</span>
              </button>
              <a class="button" href={`#/model/${example.key}`}>
                Open<span class="only-read"> {example.title}</span>
              </a>
            </p>
          </li>
        ))}
      </ul>
    </>
  );
}

function Thumbnail({ dots }: { dots: number[][] }) {
  return (
    <svg class="thumbnail" viewBox="-3 -4 106 48" preserveAspectRatio="none" aria-hidden="true">
      {dots.map((flat, i) => (
        <path key={i} class="dots" stroke={COLOURS[i % COLOURS.length]} d={dotPath(flat)} />
      ))}
    </svg>
  );
}

function dotPath(flat: number[]): string {
  let d = "";
  for (let i = 0; i < flat.length; i += 2) d += `M${flat[i]} ${flat[i + 1]}h0`;
  return d;
}
