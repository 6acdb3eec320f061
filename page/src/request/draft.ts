/** The request that the workbench edits, and what the service and the model's text say about it. */
import { batch, computed, signal } from "@preact/signals";
import type { Definition, Entry, FitRequest, Mistake, System, Unknown } from "../api/types";
import { modelText, parseModel, type Model } from "../language/model";
import { guessOf } from "./simulation";
import { seriesOf } from "./series";

export const request = signal<FitRequest>({ system: { states: [], equations: {} }, uncertainty: "covariance" });
export const text = signal("");
/** The name of a catalogue system while its equations are as in the catalogue. */
export const catalogueName = signal<string | null>(null);
export const catalogue = signal<System[]>([]);
export const mistakes = signal<Mistake[]>([]);
export const title = signal("");
/** The end of the curves, where it is not that of the data. */
export const until = signal<number | null>(null);

export const model = computed<Model>(() => parseModel(text.value));
export const definition = computed<Definition>(() => model.value.definition);

/** Entries of unknowns that the model does not have at the moment: a name typed again has its old values. */
const remembered = new Map<string, Entry>();

/** Edit a request, such as an example's or that of an earlier fit. */
export function open(next: FitRequest, name = ""): void {
  batch(() => {
    const system = next.system;
    const found = typeof system === "string" ? catalogue.value.find((one) => one.name === system) : undefined;
    catalogueName.value = found ? found.name : null;
    const written = typeof system === "string" ? (found ? definitionOf(found) : null) : system;
    text.value = written ? modelText(written, next.initial_state ?? {}) : "";
    request.value = next;
    title.value = name;
    until.value = null;
    mistakes.value = [];
    reconcile();
  });
}

/** The definition of a catalogue system. */
export function definitionOf(system: System): Definition {
  const { states, parameters, constants, equations, observables } = system;
  return { states, parameters, constants, equations, observables };
}

/** Choose a system of the catalogue, with the guesses of its example. */
export function chooseSystem(system: System): void {
  const { parameters, initial_state } = system.example;
  const { data, experiments, uncertainty } = request.value;
  const kept = { ...(data ? { data } : {}), ...(experiments ? { experiments } : {}), ...(uncertainty ? { uncertainty } : {}) };
  open({ system: system.name, ...kept, parameters, initial_state });
}

/** Take what was typed as the model. */
export function setText(next: string): void {
  batch(() => {
    text.value = next;
    catalogueName.value = null;
    request.value = { ...request.value, system: model.value.definition };
    reconcile();
  });
}

/** Give every unknown of the model an entry, and no other. */
function reconcile(): void {
  const { states, parameters = [] } = definition.value;
  const { initial } = model.value;
  const now = request.value;
  for (const [name, entry] of Object.entries({ ...now.parameters, ...now.initial_state })) remembered.set(name, entry);
  const entry = (name: string) => now.parameters?.[name] ?? now.initial_state?.[name] ?? remembered.get(name);
  const initialEntry = (name: string) => {
    const known = entry(name);
    return initial[name] ?? (typeof known === "string" ? undefined : known) ?? firstMeasured(name) ?? DEFAULT_GUESS;
  };
  const parameterEntry = (name: string) => {
    const known = entry(name);
    return typeof known === "string" || known === undefined ? DEFAULT_GUESS : known;
  };
  request.value = {
    ...now,
    parameters: Object.fromEntries(parameters.map((name) => [name, parameterEntry(name)])),
    initial_state: Object.fromEntries(states.map((name) => [name, initialEntry(name)])),
  };
}

/** The first measurement of a state: the best guess of its initial value. */
function firstMeasured(state: string): number | undefined {
  for (const series of seriesOf(request.value)) {
    const value = series.values?.[state]?.find((one) => one !== null);
    if (value !== undefined && value !== null) return value;
  }
  return undefined;
}

const DEFAULT_GUESS = 1;

/** Let initial values that nobody has touched start at the first measurement. */
export function startFromData(): void {
  const now = request.value;
  const entries = Object.entries(now.initial_state ?? {}).map(([name, entry]) => {
    const measured = firstMeasured(name);
    return [name, entry === DEFAULT_GUESS && measured !== undefined ? measured : entry] as const;
  });
  if (entries.length) request.value = { ...now, initial_state: Object.fromEntries(entries) };
}

export type Kind = "parameters" | "initial_state";

/** Change the entry of one unknown. */
export function setEntry(kind: Kind, name: string, entry: Entry): void {
  request.value = { ...request.value, [kind]: { ...request.value[kind], [name]: entry } };
}

/** Change the guess of one unknown and leave the rest of its entry as it is. */
export function setGuess(kind: Kind, name: string, guess: number): void {
  const entry = request.value[kind]?.[name];
  setEntry(kind, name, typeof entry === "object" ? { ...entry, guess } : guess);
}

/** An entry as an object with a guess; null for an expression. */
export function unknownOf(entry: Entry | undefined): Unknown | null {
  if (typeof entry === "string") return null;
  const guess = guessOf(entry) ?? 1;
  return typeof entry === "object" ? { ...entry, guess } : { guess };
}

/** The request as it is sent: with the catalogue's name where its equations are unchanged. */
export const complete = computed<FitRequest>(() => {
  const now = request.value;
  const system = catalogueName.value ?? (text.value ? definition.value : now.system);
  const labels = title.value ? { ...now.labels, title: title.value.slice(0, 200) } : now.labels;
  return { ...now, system, ...(labels ? { labels } : {}) };
});

/** Change other fields of the request; `undefined` leaves a field out. */
export function change(fields: Partial<FitRequest>): void {
  const next: Record<string, unknown> = { ...request.value, ...fields };
  for (const [name, value] of Object.entries(next)) if (value === undefined) delete next[name];
  request.value = next as unknown as FitRequest;
}
