/** The measurements: pasted, dropped or chosen, and what their columns mean. */
import { useSignal, type Signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { assign, guessRoles, nameFrom, tableOfRequest, withMeasurements, type Assigned, type Role } from "../../data/columns";
import { parseTable, tableOf, type Table } from "../../data/table";
import * as draft from "../../request/draft";
import { announce } from "../../parts/announce";

const SHOWN_ROWS = 8;
const SPREADSHEET = /\.xlsx$/i;

interface Imported {
  table: Table;
  roles: Role[];
  assigned: Assigned;
  /** Whether the reader has chosen the roles: they then stay when the model changes. */
  isChosen: boolean;
}

export function DataCard() {
  const imported = useSignal<Imported | null>(null);
  const problem = useSignal("");
  const isOver = useSignal(false);
  const current = imported.value ?? fromRequest();
  const use = (table: Table, roles: Role[], isChosen = false) => {
    const assigned = assign(table, roles);
    imported.value = { table, roles, assigned, isChosen };
    if (assigned.mistakes.length) return;
    draft.change({ ...withMeasurements(draft.request.value, assigned.series), noise: keptNoise(assigned) });
    draft.startFromData();
  };
  const observables = observableNames();
  const { inputs = [] } = draft.definition.value;
  useEffect(() => {
    const now = imported.value;
    if (now && !now.isChosen && observables.length) use(now.table, guessRoles(now.table, observables, inputs));
  }, [observables.join(), inputs.join()]);
  const read = async (make: () => Promise<Table> | Table) => {
    problem.value = "";
    try {
      const table = await make();
      use(table, guessRoles(table, observableNames(), inputs));
      announce(`A table with ${table.rows.length} rows and ${table.names.length} columns`);
    } catch (error) {
      problem.value = error instanceof Error ? error.message : String(error);
    }
  };
  const readFile = (file: File) => read(() => tableOfFile(file));
  return (
    <section
      class={`card drop${isOver.value ? " over" : ""}`}
      aria-labelledby="data-title"
      onDragOver={(event) => {
        event.preventDefault();
        isOver.value = true;
      }}
      onDragLeave={() => (isOver.value = false)}
      onDrop={(event) => {
        event.preventDefault();
        isOver.value = false;
        const file = event.dataTransfer?.files[0];
        const dropped = event.dataTransfer?.getData("text/plain");
        if (file) void readFile(file);
        else if (dropped) void read(() => parseTable(dropped));
      }}
    >
      <div class="card-head">
        <h2 id="data-title">Data</h2>
        <FileButton readFile={readFile} />
      </div>
      <label class="stacked">
        Paste a table, or drop a file here: CSV, TSV or Excel
        <textarea
          class="paste"
          rows={current ? 1 : 4}
          placeholder={"time, prey, predator\n0, 30, 4\n1, 47.2, 6.1"}
          spellcheck={false}
          onPaste={(event) => {
            const pasted = event.clipboardData?.getData("text/plain");
            if (!pasted) return;
            event.preventDefault();
            event.currentTarget.value = "";
            void read(() => parseTable(pasted));
          }}
          onChange={(event) => {
            const typed = event.currentTarget.value;
            if (!typed.trim()) return;
            event.currentTarget.value = "";
            void read(() => parseTable(typed));
          }}
        />
      </label>
      {problem.value && (
        <p class="problem" role="alert">
          {problem.value}
        </p>
      )}
      {current && <Preview imported={current} setRoles={(roles) => use(current.table, roles, true)} />}
      <ServiceMistakes isImported={imported} />
    </section>
  );
}

function fromRequest(): Imported | null {
  const found = tableOfRequest(draft.request.value);
  return found && { ...found, assigned: { series: [], mistakes: [], notes: [] }, isChosen: true };
}

function observableNames(): string[] {
  const { observables, states } = draft.definition.value;
  return observables && Object.keys(observables).length ? Object.keys(observables) : states;
}

/** The noise of the observables that are still measured; those that are new get that of the others. */
function keptNoise(assigned: Assigned): (typeof draft.request.value)["noise"] {
  const { noise } = draft.request.value;
  const [usual] = Object.values(noise ?? {});
  if (!noise || !usual) return undefined;
  const names = new Set(assigned.series.flatMap((series) => Object.keys(series.values)));
  return Object.fromEntries([...names].map((name) => [name, noise[name] ?? usual]));
}

async function tableOfFile(file: File): Promise<Table> {
  if (!SPREADSHEET.test(file.name)) {
    if (/\.xls$/i.test(file.name)) throw new Error("This is an old Excel file. Save it as .xlsx or as CSV.");
    return parseTable(await file.text());
  }
  const { readRows } = await import("../../data/spreadsheet");
  return tableOf(await readRows(file));
}

function FileButton({ readFile }: { readFile: (file: File) => void }) {
  return (
    <label class="button">
      Choose a file
      <input
        class="only-read"
        type="file"
        accept=".csv,.tsv,.txt,.xlsx,text/csv,text/tab-separated-values"
        onChange={(event) => {
          const file = event.currentTarget.files?.[0];
          if (file) readFile(file);
          event.currentTarget.value = "";
        }}
      />
    </label>
  );
}

function Preview({ imported, setRoles }: { imported: Imported; setRoles: (roles: Role[]) => void }) {
  const { table, roles, assigned } = imported;
  const wrong = new Map(assigned.mistakes.map((mistake) => [`${mistake.row}/${mistake.column}`, mistake.detail]));
  const firstWrong = assigned.mistakes.find((mistake) => mistake.row >= SHOWN_ROWS)?.row;
  const rows = [...Array(Math.min(SHOWN_ROWS, table.rows.length)).keys(), ...(firstWrong === undefined ? [] : [firstWrong])];
  return (
    <>
      {assigned.mistakes.length > 0 && (
        <div class="problem" role="alert">
          <p>
            {assigned.mistakes.length === 1 ? "One thing" : `${assigned.mistakes.length} things`} to mend before this table
            can be used:
          </p>
          <ul>
            {assigned.mistakes.slice(0, 5).map((mistake, i) => (
              <li key={i}>
                {mistake.row >= 0 && `Row ${mistake.row + 1}, column ${table.names[mistake.column]}: `}
                {mistake.detail}
              </li>
            ))}
          </ul>
        </div>
      )}
      <div class="scrolled" tabIndex={0} role="region" aria-label="Preview of the table">
        <table class="preview">
          <thead>
            <tr>
              {table.names.map((name, column) => (
                <th key={name} scope="col">
                  <span>{name}</span>
                  <RoleChoice
                    column={name}
                    role={roles[column]!}
                    choose={(role) => setRoles(roles.map((one, i) => (i === column ? role : sameOnce(one, role))))}
                  />
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {rows.map((row) => (
              <tr key={row}>
                {table.rows[row]!.map((cell, column) => (
                  <td key={column} class={wrong.has(`${row}/${column}`) ? "wrong" : roles[column]!.kind} title={wrong.get(`${row}/${column}`)}>
                    {cell.slice(0, 24) || "–"}
                  </td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      <p class="note">
        {table.rows.length} rows. {assigned.notes.join(" ")}
      </p>
    </>
  );
}

/** There is one column of times, and one of each observable: the column that had the role before loses it. */
function sameOnce(one: Role, chosen: Role): Role {
  const isSame = one.kind === chosen.kind && ("name" in one ? "name" in chosen && one.name === chosen.name : true);
  return isSame && one.kind !== "ignore" ? { kind: "ignore" } : one;
}

function RoleChoice({ column, role, choose }: { column: string; role: Role; choose: (role: Role) => void }) {
  const own = nameFrom(column);
  const observables = [...new Set([...observableNames(), ...(observableNames().length ? [] : [own]), ...("name" in role && role.kind === "observable" ? [role.name] : [])])];
  const options: [Role, string][] = [
    [{ kind: "ignore" }, "not used"],
    [{ kind: "time" }, "time"],
    ...observables.map((name): [Role, string] => [{ kind: "observable", name }, `measures ${name}`]),
    ...observables.map((name): [Role, string] => [{ kind: "sigma", name }, `error of ${name}`]),
    ...(draft.definition.value.inputs ?? []).map((name): [Role, string] => [{ kind: "input", name }, `input ${name}`]),
    [{ kind: "experiment" }, "experiment"],
  ];
  const key = (one: Role) => `${one.kind} ${"name" in one ? one.name : ""}`;
  return (
    <select
      aria-label={`What the column ${column} is`}
      value={key(role)}
      onChange={(event) => choose(options.find(([one]) => key(one) === event.currentTarget.value)![0])}
    >
      {options.map(([one, label]) => (
        <option key={key(one)} value={key(one)}>
          {label}
        </option>
      ))}
    </select>
  );
}

function ServiceMistakes({ isImported }: { isImported: Signal<Imported | null> }) {
  const found = draft.mistakes.value.filter(({ pointer = "" }) => /^\/(data|experiments)/.test(pointer));
  const hasData = isImported.value !== null || tableOfRequest(draft.request.value) !== null;
  if (!found.length || !hasData) return null;
  return (
    <ul class="mistakes" aria-live="polite">
      {found.slice(0, 5).map((mistake) => (
        <li key={mistake.pointer}>
          {mistake.detail} <code>{mistake.pointer}</code>
        </li>
      ))}
    </ul>
  );
}
