/** The panels over time, below each other with one time axis. */
import { useMemo } from "preact/hooks";
import { domainAround, Panel } from "./Panel";
import type { TimePanel } from "./timePanels";

const MOST_PANELS = 12;
const LEAST_HEIGHT = 520;

interface Props {
  panels: TimePanel[];
  domain: [number, number];
  integer?: boolean;
  height?: number;
  onExtend?: (end: number, isDone: boolean) => void;
}

/** Draw them; at most twelve. */
export function TimeFigure({ panels, domain, integer, height, onExtend }: Props) {
  const shown = panels.slice(0, MOST_PANELS);
  const margin = (domain[1] - domain[0] || 1) * 0.015;
  const x: [number, number] = useMemo(() => [domain[0] - margin, domain[1] + margin], [domain[0], domain[1]]);
  const total = Math.max(LEAST_HEIGHT, 0.55 * window.innerHeight);
  return (
    <div class="figure">
      {shown.map((panel, i) => (
        <Panel
          key={panel.name}
          title={`${panel.name} over time`}
          layers={panel.layers}
          x={{ label: "time", domain: x, hidden: i < shown.length - 1, integer }}
          y={{ label: panel.name, domain: domainAround(panel.layers) }}
          height={height ?? Math.max(170, Math.min(480, total / shown.length))}
          onExtend={i === shown.length - 1 ? onExtend : undefined}
        />
      ))}
      {panels.length > shown.length && <p class="note">{panels.length - shown.length} more are not shown.</p>}
    </div>
  );
}
