/** What the columns of a table are, and the series that come of it. */
import type { Experiment, FitRequest, Values } from "../api/types";
import { seriesOf } from "../request/series";
import { isMissing, numberOf, type Table } from "./table";

export type Role =
  | { kind: "ignore" }
  | { kind: "time" }
  | { kind: "experiment" }
  | { kind: "observable"; name: string }
  | { kind: "sigma"; name: string }
  | { kind: "input"; name: string };

export interface CellMistake {
  row: number;
  column: number;
  detail: string;
}

const TIME_NAMES = /^(t|time|times|day|days|hour|hours|year|date|week|minute|minutes|second|seconds|h|min|s)\b/i;

/** The likely roles of the columns. */
export function guessRoles(table: Table, observables: string[], inputs: string[]): Role[] {
  const time = Math.max(0, table.names.findIndex((name) => TIME_NAMES.test(name)));
  const taken = new Set<string>();
  const roles = table.names.map((name, column): Role => {
    if (column === time) return { kind: "time" };
    const known = (list: string[]) => list.find((one) => one.toLowerCase() === name.toLowerCase() && !taken.has(one));
    const observable = known(observables);
    if (observable) {
      taken.add(observable);
      return { kind: "observable", name: observable };
    }
    const input = known(inputs);
    if (input) return { kind: "input", name: input };
    const spread = /^(sd|sigma|se|std|error)[ _]?(?:of )?(.+)$|^(.+?)[ _](sd|sigma|se|std|error)$/i.exec(name);
    const measured = spread && known(observables.length ? [...observables] : table.names);
    if (measured) return { kind: "sigma", name: measured };
    const isText = table.rows.some((row) => !isMissing(row[column]!) && numberOf(row[column]!) === null);
    return isText ? { kind: "experiment" } : { kind: "ignore" };
  });
  if (observables.length) return withRemaining(table, roles, observables.filter((name) => !taken.has(name)));
  return roles.map((role, i) => (role.kind === "ignore" ? { kind: "observable", name: nameFrom(table.names[i]!) } : role));
}

/** A column's name as a name that equations can use. */
export function nameFrom(text: string): string {
  const plain = text.replace(/\(.*?\)|\[.*?\]/g, "").trim().replace(/\W+/g, "_").replace(/^_+|_+$/g, "");
  return /^[A-Za-z]/.test(plain) ? plain : `y_${plain || "1"}`;
}

/** Give numeric columns whose name says nothing to the observables that are left, in order. */
function withRemaining(table: Table, roles: Role[], left: string[]): Role[] {
  const rest = [...left];
  const groups = roles.filter((role) => role.kind === "experiment").length;
  let group = 0;
  return roles.map((role, column) => {
    if (role.kind === "experiment") return group++ === 0 && groups >= 1 ? role : { kind: "ignore" };
    if (role.kind !== "ignore" || !rest.length) return role;
    const isNumeric = table.rows.every((row) => isMissing(row[column]!) || numberOf(row[column]!) !== null);
    return isNumeric ? { kind: "observable", name: rest.shift()! } : role;
  });
}

export interface Assigned {
  series: Experiment[];
  mistakes: CellMistake[];
  notes: string[];
}

/** The series of a table. Cells that are neither numbers nor missing are mistakes, and all of them are listed. */
export function assign(table: Table, roles: Role[]): Assigned {
  const mistakes: CellMistake[] = [];
  const notes: string[] = [];
  const time = roles.findIndex((role) => role.kind === "time");
  const group = roles.findIndex((role) => role.kind === "experiment");
  if (time < 0) return { series: [], mistakes: [{ row: -1, column: -1, detail: "Say which column has the times." }], notes };
  if (!roles.some((role) => role.kind === "observable"))
    return { series: [], mistakes: [{ row: -1, column: -1, detail: "Say which column has measurements of what." }], notes };
  const numbers = table.rows.map((row, i) => row.map((cell, column) => read(cell, i, column, roles, mistakes)));
  const groups = new Map<string, number[]>();
  table.rows.forEach((row, i) => {
    const name = group < 0 ? "data" : row[group]!.trim() || "unnamed";
    groups.set(name, [...(groups.get(name) ?? []), i]);
  });
  const series = [...groups].map(([name, rows]) => {
    const sorted = [...rows].sort((a, b) => (numbers[a]![time] ?? 0) - (numbers[b]![time] ?? 0));
    if (sorted.some((row, i) => row !== rows[i])) notes.push("Rows were put in the order of time.");
    return oneSeries(name, sorted, numbers, roles, time);
  });
  return { series, mistakes, notes: [...new Set(notes)] };
}

function read(cell: string, row: number, column: number, roles: Role[], mistakes: CellMistake[]): number | null {
  const role = roles[column]!;
  if (role.kind === "ignore" || role.kind === "experiment") return null;
  const value = numberOf(cell);
  if (value !== null) return value;
  if (!isMissing(cell)) mistakes.push({ row, column, detail: `“${cell.slice(0, 30)}” is not a number` });
  else if (role.kind === "time") mistakes.push({ row, column, detail: "a time is missing" });
  return null;
}

function oneSeries(name: string, rows: number[], numbers: Values[], roles: Role[], time: number): Experiment {
  const values: Record<string, Values> = {};
  const sigma: Record<string, Values> = {};
  const inputs: Record<string, { times: number[]; values: number[] }> = {};
  roles.forEach((role, column) => {
    const cells = rows.map((row) => numbers[row]![column]!);
    if (role.kind === "observable") values[role.name] = cells;
    if (role.kind === "sigma") sigma[role.name] = cells;
    if (role.kind === "input") inputs[role.name] = knots(rows.map((row) => numbers[row]![time]!), cells);
  });
  for (const observable of Object.keys(values)) if (values[observable]!.every((one) => one === null)) delete values[observable];
  const times = rows.map((row) => numbers[row]![time]!);
  return {
    name, times, values,
    ...(Object.keys(sigma).length ? { sigma: sigma as Experiment["sigma"] } : {}),
    ...(Object.keys(inputs).length ? { inputs } : {}),
  } as Experiment;
}

/** The knots of an input: rows without a value are left out, and of equal times the first counts. */
function knots(times: (number | null)[], values: Values): { times: number[]; values: number[] } {
  const kept = times.flatMap((time, i) => {
    const value = values[i];
    return time === null || value == null || (i > 0 && time === times[i - 1]) ? [] : [[time, value] as const];
  });
  return { times: kept.map(([time]) => time), values: kept.map(([, value]) => value) };
}

/** The request's series as a table, and what its columns are. */
export function tableOfRequest(request: FitRequest): { table: Table; roles: Role[] } | null {
  const series = seriesOf(request).filter((one) => one.values);
  if (!series.length) return null;
  const observables = [...new Set(series.flatMap((one) => Object.keys(one.values)))];
  const several = Boolean(request.experiments?.length);
  const names = [...(several ? ["experiment"] : []), "time", ...observables];
  const rows = series.flatMap((one) =>
    one.times.map((time, i) => [
      ...(several ? [one.name] : []),
      String(time),
      ...observables.map((name) => String(one.values[name]?.[i] ?? "")),
    ]),
  );
  const roles: Role[] = [
    ...(several ? [{ kind: "experiment" } as const] : []),
    { kind: "time" },
    ...observables.map((name) => ({ kind: "observable", name }) as const),
  ];
  return { table: { names, rows }, roles };
}

/** The request with other measurements. What was done in a series of the same name, or in the only one, stays. */
export function withMeasurements(request: FitRequest, series: Experiment[]): Partial<FitRequest> {
  const before = seriesOf(request);
  const merged = series.map((one) => {
    const old = before.find((other) => other.name === one.name) ?? (series.length === 1 && before.length === 1 ? before[0] : undefined);
    const { values: _, times: __, sigma: ___, ...done } = old ?? { name: one.name, values: {}, times: [] };
    return { ...done, ...one, inputs: { ...done.inputs, ...one.inputs } };
  });
  const cleaned = merged.map(({ inputs, ...rest }) => (Object.keys(inputs).length ? { ...rest, inputs } : rest));
  if (cleaned.length === 1) return { data: cleaned[0] as FitRequest["data"], experiments: undefined };
  return { data: undefined, experiments: cleaned as FitRequest["experiments"] };
}
