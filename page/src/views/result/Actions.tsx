/** What one can do with a fit: share it, take it away, repeat it with something changed. */
import { useSignal, type Signal } from "@preact/signals";
import { useRef } from "preact/hooks";
import type { ComponentChildren, RefObject } from "preact";
import { file } from "../../api/client";
import type { Fit, FitRequest, Noise } from "../../api/types";
import { codes, jsonText } from "../../export/code";
import { pngOf, save, svgOf } from "../../export/picture";
import * as repeating from "../../fits/repeating";
import { copyText } from "../../parts/copy";
import { ErrorText } from "../../parts/ErrorText";
import { Menu } from "../../parts/Menu";
import { go } from "../../parts/route";

const MANY_STARTS = 20;

interface Props {
  fit: Fit;
  request: FitRequest;
  title: string;
}

export function Actions({ fit, request, title }: Props) {
  const failure = useSignal<unknown>(null);
  const shown = useSignal<string | null>(null);
  const attempt = async (work: () => Promise<void> | void) => {
    failure.value = null;
    try {
      await work();
    } catch (error) {
      failure.value = error;
    }
  };
  const repeat = (made: FitRequest) => attempt(async () => go(`fits/${await repeating.start(made)}`));
  return (
    <div class="fit-actions">
      <div class="actions">
        <ShareButton />
        <ExportMenu fit={fit} request={request} attempt={attempt} show={(label) => (shown.value = label)} />
        {fit.result && (
          <Menu label="Repeat">
            <button type="button" onClick={() => repeat(repeating.withProfiles(fit, request, title))}>
              With profiles
            </button>
            <button type="button" onClick={() => repeat(repeating.withStarts(fit, request, title, MANY_STARTS))}>
              From {MANY_STARTS} starts
            </button>
            <button type="button" onClick={() => repeat(repeating.withHoldOut(fit, request, title))}>
              Holding out the last quarter
            </button>
            {NOISES.map(([label, noise]) => (
              <button key={label} type="button" onClick={() => repeat(repeating.withNoise(fit, request, title, noise, label))}>
                With {label}
              </button>
            ))}
          </Menu>
        )}
        <a class="button" href={`#/model/fit-${fit.id}`}>
          Edit
        </a>
        {fit.labels.repeats && (
          <a class="button" href={`#/compare/${fit.labels.repeats},${fit.id}`}>
            Compare with the first
          </a>
        )}
      </div>
      <ErrorText error={failure.value} />
      <CodeDialog request={request} shown={shown} />
    </div>
  );
}

const NOISES: [string, Noise][] = [
  ["even noise", { distribution: "normal", sigma: "estimate" }],
  ["noise in proportion", { distribution: "lognormal", sigma: "estimate" }],
  ["outliers", { distribution: "student-t", sigma: "estimate" }],
] as [string, Noise][];

function ShareButton() {
  const state = useSignal<"" | "copied" | "shown">("");
  const share = async () => {
    state.value = (await copyText(window.location.href, "The link is copied")) ? "copied" : "shown";
    if (state.value === "copied") setTimeout(() => (state.value = ""), 2500);
  };
  return (
    <>
      <button type="button" onClick={share}>
        {state.value === "copied" ? "Link copied" : "Share"}
      </button>
      {state.value === "shown" && <input class="link" type="text" readOnly aria-label="Link to this fit" value={window.location.href} onFocus={(event) => event.currentTarget.select()} />}
    </>
  );
}

interface ExportProps {
  fit: Fit;
  request: FitRequest;
  attempt: (work: () => Promise<void> | void) => void;
  show: (label: string) => void;
}

function ExportMenu({ fit, request, attempt, show }: ExportProps) {
  const figure = () => document.querySelector("#trajectories .figure")!;
  const name = `fit-${fit.id.slice(0, 8)}`;
  const item = (label: string, work: () => Promise<void> | void): ComponentChildren => (
    <button key={label} type="button" onClick={() => attempt(work)}>
      {label}
    </button>
  );
  return (
    <Menu label="Export">
      {item("Picture as SVG", () => save(new Blob([svgOf(figure()).text], { type: "image/svg+xml" }), `${name}.svg`))}
      {item("Picture as PNG", async () => save(await pngOf(figure()), `${name}.png`))}
      {fit.result && item("Trajectories as CSV", async () => save(await file(fit.id, "result.csv"), `${name}.csv`))}
      {fit.result && item("Result as JSON", () => save(`${jsonText(fit.result)}\n`, `${name}.json`))}
      {codes(request).map(({ label }) => item(`Request as ${label}`, () => show(label)))}
    </Menu>
  );
}

function CodeDialog({ request, shown }: { request: FitRequest; shown: Signal<string | null> }) {
  const dialog = useRef<HTMLDialogElement>(null);
  const code = codes(request).find((one) => one.label === shown.value);
  openIf(dialog, code !== undefined);
  return (
    <dialog ref={dialog} class="code-dialog" aria-labelledby="code-title" onClose={() => (shown.value = null)}>
      {code && (
        <>
          <h2 id="code-title">The request as {code.label}</h2>
          <pre tabIndex={0}>{code.text}</pre>
          <p class="actions">
            <button class="primary" type="button" onClick={() => copyText(code.text, "Copied")}>
              Copy
            </button>
            <button type="button" onClick={() => save(code.text, code.file)}>
              Save as {code.file}
            </button>
            <button type="button" onClick={() => dialog.current?.close()}>
              Close
            </button>
          </p>
        </>
      )}
    </dialog>
  );
}

function openIf(dialog: RefObject<HTMLDialogElement | null>, isOpen: boolean): void {
  queueMicrotask(() => {
    if (isOpen && !dialog.current?.open) dialog.current?.showModal();
  });
}
