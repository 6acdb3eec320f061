/** The colours of experiments, where there is more than one. */
import type { FitRequest } from "../api/types";
import { seriesOf } from "../request/series";
import { colourOf } from "./colours";

const MOST = 16;

export function Legend({ request }: { request: FitRequest }) {
  const series = seriesOf(request);
  if (series.length < 2) return null;
  return (
    <ul class="legend" aria-label="Experiments">
      {series.slice(0, MOST).map((one, i) => (
        <li key={one.name}>
          <svg width="14" height="14" aria-hidden="true">
            <circle cx="7" cy="7" r="5" fill={colourOf(i, series.length)} />
          </svg>
          {one.name}
        </li>
      ))}
      {series.length > MOST && <li>and {series.length - MOST} more</li>}
    </ul>
  );
}
