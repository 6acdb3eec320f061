/** The table of all estimates with their intervals. */
import type { Estimate, FitResult } from "../../api/types";
import { estimateText, text } from "../../plots/scales";

interface Row {
  name: string;
  estimate: Estimate;
}

/** Names and estimates in groups, in the order in which they are shown. */
export function estimateGroups(result: FitResult): { title: string; rows: Row[] }[] {
  const several = result.trajectories.length > 1;
  const own = result.trajectories.flatMap((one) => rows(one.parameters, several ? `[${one.name}]` : ""));
  const initial = several
    ? result.trajectories.flatMap((one) => rows(one.initial_state, `[${one.name}]`).filter((row) => !row.estimate.fixed))
    : rows(result.initial_state);
  const noise = Object.entries(result.noise ?? {}).flatMap(([name, { sigma, proportional }]) => [
    ...(sigma ? [{ name: `σ of ${name}`, estimate: sigma }] : []),
    ...(proportional ? [{ name: `relative error of ${name}`, estimate: proportional }] : []),
  ]);
  return [
    { title: "Parameters", rows: [...rows(result.parameters), ...own] },
    { title: "Initial state", rows: initial },
    { title: "Derived", rows: rows(result.derived) },
    { title: "Noise", rows: noise },
  ].filter((group) => group.rows.length > 0);
}

function rows(estimates: Record<string, Estimate> | undefined, suffix = ""): Row[] {
  return Object.entries(estimates ?? {}).map(([name, estimate]) => ({ name: name + suffix, estimate }));
}

export function Estimates({ result }: { result: FitResult }) {
  const groups = estimateGroups(result);
  const hasErrors = groups.some((group) => group.rows.some((row) => row.estimate.standard_error !== undefined));
  return (
    <section class="card" aria-labelledby="estimates-title">
      <h2 id="estimates-title">Estimates</h2>
      <div class="scrolled" tabIndex={0} role="region" aria-label="Table of estimates">
        <table class="estimates">
          <thead>
            <tr>
              <th scope="col">Name</th>
              <th scope="col">Value</th>
              {hasErrors && <th scope="col">± s.e.</th>}
              {hasErrors && <th scope="col">95 % interval</th>}
            </tr>
          </thead>
          {groups.map((group) => (
            <tbody key={group.title}>
              <tr class="group">
                <th scope="rowgroup" colSpan={hasErrors ? 4 : 2}>
                  {group.title}
                </th>
              </tr>
              {group.rows.map((row) => (
                <tr key={row.name}>
                  <th scope="row">{row.name}</th>
                  <td>{estimateText(row.estimate.value, row.estimate.standard_error)}</td>
                  {hasErrors && <td>{row.estimate.fixed ? "fixed" : text(row.estimate.standard_error, 2)}</td>}
                  {hasErrors && <td>{interval(row.estimate)}</td>}
                </tr>
              ))}
            </tbody>
          ))}
        </table>
      </div>
    </section>
  );
}

function interval({ value, lower_95: lower, upper_95: upper, standard_error: error }: Estimate): string {
  if (lower === undefined && upper === undefined) return "";
  const width = error ?? Math.abs((upper ?? value) - (lower ?? value)) / 4;
  const end = (one: number | undefined) => (one === undefined ? "open" : estimateText(one, width));
  return `${end(lower)} … ${end(upper)}`;
}
