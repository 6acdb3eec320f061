/** What was done in the experiments: doses, and the values of inputs. */
import { useSignal } from "@preact/signals";
import type { Dose, Experiment, FitRequest } from "../../api/types";
import * as draft from "../../request/draft";
import { seriesOf } from "../../request/series";

type Quantity = number | string;

export function DoneCard() {
  const chosen = useSignal(0);
  const series = seriesOf(draft.request.value);
  const { states, inputs = [] } = draft.definition.value;
  const position = Math.min(chosen.value, series.length - 1);
  const one = series[position];
  if (!one || !states.length) return null;
  const set = (fields: Partial<Experiment>) => draft.change(changed(draft.request.value, position, fields));
  return (
    <details class="card" open={Boolean(one.doses?.length || inputs.length)}>
      <summary>
        <h2>Doses and inputs</h2>
      </summary>
      {series.length > 1 && (
        <label class="row">
          Experiment
          <select value={position} onChange={(event) => (chosen.value = Number(event.currentTarget.value))}>
            {series.map((other, i) => (
              <option key={other.name} value={i}>
                {other.name}
              </option>
            ))}
          </select>
        </label>
      )}
      {inputs.map((name) => (
        <Input key={name} name={name} series={one} set={set} />
      ))}
      <Doses doses={one.doses ?? []} states={states} set={(doses) => set({ doses })} />
      {Boolean(one.changes?.length) && <p class="note">{one.changes!.length} changes are in the request; edit them as JSON below.</p>}
    </details>
  );
}

function changed(request: FitRequest, position: number, fields: Partial<Experiment>): Partial<FitRequest> {
  if (!request.experiments?.length) return { data: { ...request.data!, ...fields } as FitRequest["data"] };
  return { experiments: request.experiments.map((one, i) => (i === position ? { ...one, ...fields } : one)) };
}

function Input({ name, series, set }: { name: string; series: Experiment; set: (fields: Partial<Experiment>) => void }) {
  const value = series.inputs?.[name] ?? draft.request.value.inputs?.[name];
  const isTable = typeof value === "object" && value !== null;
  return (
    <label class="row">
      <span class="unknown-name">{name}</span>
      {isTable ? (
        <span class="note">{(value as { times: number[] }).times.length} values over time</span>
      ) : (
        <input
          type="text"
          value={value === undefined ? "" : String(value)}
          placeholder="a number, or an expression of t"
          onChange={(event) => set({ inputs: { ...series.inputs, [name]: quantity(event.currentTarget.value) } })}
        />
      )}
    </label>
  );
}

function quantity(text: string): Quantity {
  const number = Number(text.trim().replace(",", "."));
  return text.trim() !== "" && Number.isFinite(number) ? number : text.trim();
}

const FIELDS: [keyof Dose & ("amount" | "at" | "every" | "count" | "duration"), string][] = [
  ["amount", "amount"],
  ["at", "at time"],
  ["every", "every"],
  ["count", "times"],
  ["duration", "over"],
];

function Doses({ doses, states, set }: { doses: Dose[]; states: string[]; set: (doses: Dose[]) => void }) {
  const change = (position: number, field: string, value: Quantity | undefined) =>
    set(
      doses.map((dose, i) => {
        if (i !== position) return dose;
        const next: Record<string, unknown> = { ...dose, [field]: value };
        if (value === undefined || value === "") delete next[field];
        return next as unknown as Dose;
      }),
    );
  return (
    <div class="doses">
      {doses.map((dose, i) => (
        <fieldset key={i} class="dose">
          <legend>Dose {i + 1}</legend>
          <label class="stacked">
            into
            <select value={dose.into} onChange={(event) => change(i, "into", event.currentTarget.value)}>
              {states.map((state) => (
                <option key={state}>{state}</option>
              ))}
            </select>
          </label>
          {FIELDS.map(([field, label]) => (
            <label key={field} class="stacked">
              {label}
              <input
                class="number"
                type="text"
                value={dose[field] === undefined ? "" : String(dose[field])}
                onChange={(event) => change(i, field, quantity(event.currentTarget.value))}
              />
            </label>
          ))}
          <button class="quiet small" type="button" onClick={() => set(doses.filter((_, other) => other !== i))}>
            Remove<span class="only-read"> dose {i + 1}</span>
          </button>
        </fieldset>
      ))}
      <button type="button" onClick={() => set([...doses, { into: states[0]!, amount: 1, at: 0 } as Dose])}>
        Add a dose
      </button>
    </div>
  );
}
