/** The unknowns: a slider each, which moves the curve at once, and what the fit may do with them. */
import { useSignal } from "@preact/signals";
import type { Entry, Unknown } from "../../api/types";
import * as draft from "../../request/draft";
import { moved } from "./preview";

const STEPS = 1000;

export function UnknownsCard() {
  const { parameters = {}, initial_state = {} } = draft.request.value;
  const own = new Set(draft.request.value.per_experiment ?? []);
  return (
    <section class="card" aria-labelledby="unknowns-title">
      <h2 id="unknowns-title">Unknowns</h2>
      <p class="note">Move them until the curve is roughly right. The fit starts there.</p>
      <Group title="Parameters" kind="parameters" entries={parameters} own={own} />
      <Group title="Initial state" kind="initial_state" entries={initial_state} own={own} />
    </section>
  );
}

interface GroupProps {
  title: string;
  kind: draft.Kind;
  entries: Record<string, Entry>;
  own: Set<string>;
}

function Group({ title, kind, entries, own }: GroupProps) {
  const names = Object.keys(entries);
  if (!names.length) return null;
  return (
    <fieldset class="unknowns">
      <legend>{title}</legend>
      {names.map((name) => (
        <Row key={name} kind={kind} name={name} entry={entries[name]!} isOwn={own.has(name)} />
      ))}
    </fieldset>
  );
}

function Row({ kind, name, entry, isOwn }: { kind: draft.Kind; name: string; entry: Entry; isOwn: boolean }) {
  const isOpen = useSignal(false);
  const unknown = draft.unknownOf(entry);
  const mistakes = draft.mistakes.value.filter(({ pointer = "" }) => pointer === `/${kind}/${name}` || pointer.startsWith(`/${kind}/${name}/`));
  const label = kind === "initial_state" ? `${name}(0)` : name;
  if (!unknown)
    return (
      <div class="unknown">
        <span class="unknown-name">{label}</span>
        <code class="unknown-expression">{String(entry)}</code>
      </div>
    );
  return (
    <div class="unknown">
      <span class="unknown-name" id={`name-${kind}-${name}`}>
        {label}
      </span>
      <Slider kind={kind} name={name} label={label} unknown={unknown} />
      <NumberField
        label={`${label}, guess`}
        value={unknown.guess!}
        invalid={mistakes.length > 0}
        onValue={(value) => value !== null && change(kind, name, value)}
      />
      <button
        class="quiet small"
        type="button"
        aria-expanded={isOpen.value}
        aria-label={`Bounds and scale of ${label}`}
        onClick={() => (isOpen.value = !isOpen.value)}
      >
        {unknown.fixed ? "fixed" : unknown.lower !== undefined || unknown.upper !== undefined || unknown.scale === "log" ? "limits" : "free"}
      </button>
      {isOpen.value && <Details kind={kind} name={name} label={label} unknown={unknown} isOwn={isOwn} />}
      {mistakes.map((mistake) => (
        <p key={mistake.pointer} class="mistake">
          {mistake.detail}
        </p>
      ))}
    </div>
  );
}

function change(kind: draft.Kind, name: string, value: number): void {
  moved();
  draft.setGuess(kind, name, value);
}

/** The range of a slider: the bounds, or a range around the guess that stays while the slider moves. */
function rangeOf({ guess, lower, upper, scale }: Unknown): [number, number] {
  const value = guess!;
  if (scale === "log" && value > 0) return [lower && lower > 0 ? lower : value / 30, upper ?? value * 30];
  const reach = Math.abs(value) || 1;
  return [lower ?? Math.min(0, value - 2 * reach), upper ?? (value > 0 ? value + 2 * reach : Math.max(1, value + 2 * reach))];
}

function Slider({ kind, name, label, unknown }: { kind: draft.Kind; name: string; label: string; unknown: Unknown }) {
  const kept = useSignal<{ range: [number, number]; of: string }>({ range: rangeOf(unknown), of: "" });
  const value = unknown.guess!;
  const isLog = unknown.scale === "log";
  const of = `${unknown.lower} ${unknown.upper} ${unknown.scale}`;
  const [low, high] = kept.value.range;
  if (kept.value.of !== of || value < low || value > high) kept.value = { range: rangeOf(unknown), of };
  const [from, to] = kept.value.range;
  const share = isLog && from > 0 ? Math.log(value / from) / Math.log(to / from) : (value - from) / (to - from || 1);
  return (
    <input
      type="range"
      min={0}
      max={STEPS}
      step={1}
      value={Math.round(share * STEPS)}
      aria-label={label}
      aria-valuetext={String(value)}
      onInput={(event) => {
        const at = Number(event.currentTarget.value) / STEPS;
        const next = isLog && from > 0 ? from * (to / from) ** at : from + (to - from) * at;
        change(kind, name, Number(next.toPrecision(4)));
      }}
    />
  );
}

export function NumberField({ label, value, onValue, invalid, placeholder }: {
  label: string;
  value: number | undefined;
  onValue: (value: number | null) => void;
  invalid?: boolean;
  placeholder?: string;
}) {
  return (
    <input
      class="number"
      type="text"
      inputMode="decimal"
      aria-label={label}
      aria-invalid={invalid}
      placeholder={placeholder}
      value={value ?? ""}
      onChange={(event) => {
        const text = event.currentTarget.value.trim().replace(",", ".");
        const number = Number(text);
        if (text === "") onValue(null);
        else if (Number.isFinite(number)) onValue(number);
        event.currentTarget.value = String(value ?? "");
      }}
    />
  );
}

function Details({ kind, name, label, unknown, isOwn }: { kind: draft.Kind; name: string; label: string; unknown: Unknown; isOwn: boolean }) {
  const set = (fields: Partial<Unknown>) => {
    const next: Record<string, unknown> = { ...unknown, ...fields };
    for (const [field, value] of Object.entries(next)) if (value === undefined || value === false) delete next[field];
    draft.setEntry(kind, name, next as Entry);
  };
  const setOwn = (isOn: boolean) => {
    const others = (draft.request.value.per_experiment ?? []).filter((one) => one !== name);
    draft.change({ per_experiment: isOn ? [...others, name] : others });
  };
  const isSeveral = (draft.request.value.experiments?.length ?? 0) > 1;
  return (
    <div class="unknown-details">
      <label>
        from <NumberField label={`${label}, lower bound`} value={unknown.lower} placeholder="−∞" onValue={(lower) => set({ lower: lower ?? undefined })} />
      </label>
      <label>
        to <NumberField label={`${label}, upper bound`} value={unknown.upper} placeholder="∞" onValue={(upper) => set({ upper: upper ?? undefined })} />
      </label>
      <label>
        <input type="checkbox" checked={unknown.scale === "log"} onChange={(event) => set({ scale: event.currentTarget.checked ? "log" : undefined })} /> positive, on a log scale
      </label>
      <label>
        <input type="checkbox" checked={unknown.fixed ?? false} onChange={(event) => set({ fixed: event.currentTarget.checked })} /> known: do not fit
      </label>
      {kind === "parameters" && isSeveral && (
        <label>
          <input type="checkbox" checked={isOwn} onChange={(event) => setOwn(event.currentTarget.checked)} /> differs between experiments
        </label>
      )}
    </div>
  );
}
