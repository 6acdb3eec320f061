/** Names and values in columns. */
import type { ComponentChildren } from "preact";

export function Numbers({ entries }: { entries: [ComponentChildren, string][] }) {
  return (
    <dl class="numbers">
      {entries.map(([name, value], i) => (
        <div key={i}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}
