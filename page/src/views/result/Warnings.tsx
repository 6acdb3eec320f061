/** The warnings of a result: what each means, and what one can do. */
import type { FitResult } from "../../api/types";
import { warningWords } from "../../fits/words";
import { sentence } from "./Summary";

export function Warnings({ warnings }: { warnings: FitResult["warnings"] }) {
  if (!warnings.length) return null;
  return (
    <section class="card warnings" aria-labelledby="warnings-title">
      <h2 id="warnings-title">{warnings.length === 1 ? "One warning" : `${warnings.length} warnings`}</h2>
      <ul>
        {warnings.map((warning, i) => {
          const { title, advice } = warningWords(warning.code);
          return (
            <li key={i}>
              <h3>{title}</h3>
              <p>{sentence(warning.message)}</p>
              {advice && <p class="note">{advice}</p>}
            </li>
          );
        })}
      </ul>
    </section>
  );
}
