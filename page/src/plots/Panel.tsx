/** One panel of a figure: lines, bands and dots in an SVG, with axes and a readout. */
import { useSignal } from "@preact/signals";
import { useEffect, useId, useRef } from "preact/hooks";
import type { Values } from "../api/types";
import { useWidth } from "./useWidth";
import { extent, padded, scale, text, type Scale } from "./scales";

export type Layer =
  | { kind: "line"; x: Values; y: Values; colour: string; dashed?: boolean; label?: string; thin?: boolean; faint?: boolean }
  | { kind: "dots"; x: Values; y: Values; colour: string; hollow?: boolean; sigma?: Values; label?: string; large?: boolean }
  | { kind: "band"; x: number[]; lower: Values; upper: Values; colour: string }
  | { kind: "vertical"; x: number[]; label?: string }
  | { kind: "level"; y: number; label?: string };

export interface Axis {
  label: string;
  domain?: [number, number];
  log?: boolean;
  integer?: boolean;
  hidden?: boolean;
}

interface Props {
  title: string;
  layers: Layer[];
  x: Axis;
  y: Axis;
  height?: number;
  /** As high as wide, which suits a phase plane. */
  square?: boolean;
  /** Called while the right end of the axis is dragged, with the new end, and once more when it is let go. */
  onExtend?: (end: number, isDone: boolean) => void;
  summary?: string;
}

const LEFT = 58;
const RIGHT = 14;
const TOP = 10;
const BOTTOM = 38;
const MOST_DOTS = 20_000;

/** Draw a panel as wide as its place. */
export function Panel(props: Props) {
  const [place, width] = useWidth<HTMLDivElement>();
  const height = props.square ? Math.min(width, 460) : (props.height ?? 220);
  return (
    <div class="panel" ref={place}>
      {width > 80 && <Drawing {...props} width={width} height={height} />}
    </div>
  );
}

function Drawing(props: Props & { width: number; height: number }) {
  const { layers, width, height } = props;
  const clip = useId();
  const hover = useSignal<number | null>(null);
  const bottom = props.x.hidden ? 8 : BOTTOM;
  const xDomain = props.x.domain ?? padded(domainOf(layers, "x") ?? [0, 1], props.square ? 0.05 : 0.015);
  const yDomain = props.y.domain ?? padded(domainOf(layers, "y") ?? [0, 1], 0.06);
  const x = scale(positive(xDomain, props.x.log), [LEFT, width - RIGHT], props.x.log, Math.max(2, (width - LEFT) / 75));
  const y = scale(positive(yDomain, props.y.log), [height - bottom, TOP], props.y.log, Math.max(2, (height - bottom) / 38));
  const move = (event: PointerEvent) => {
    const box = (event.currentTarget as Element).getBoundingClientRect();
    hover.value = x.invert(((event.clientX - box.left) / box.width) * width);
  };
  return (
    <svg
      class="drawing"
      viewBox={`0 0 ${width} ${height}`}
      width={width}
      height={height}
      role={props.onExtend ? "group" : "img"} // an image may have nothing inside that takes the focus
      aria-label={props.summary ?? props.title}
      onPointerMove={move}
      onPointerLeave={() => (hover.value = null)}
    >
      <title>{props.title}</title>
      <clipPath id={clip}>
        <rect x={LEFT} y={TOP - 4} width={width - LEFT - RIGHT + 4} height={height - bottom - TOP + 8} />
      </clipPath>
      <Grid x={x} y={y} width={width} height={height} bottom={bottom} props={props} />
      <g clip-path={`url(#${clip})`}>
        {layers.map((layer, i) => (
          <Drawn key={i} layer={layer} x={x} y={y} width={width} />
        ))}
        {!props.square && <Readout at={hover.value} layers={layers} x={x} y={y} height={height} bottom={bottom} />}
      </g>
      {props.onExtend && <Handle x={x} width={width} height={height} bottom={bottom} onExtend={props.onExtend} />}
    </svg>
  );
}

function positive(domain: [number, number], isLog?: boolean): [number, number] {
  return isLog && domain[0] <= 0 ? [domain[1] > 0 ? domain[1] / 1e6 : 1e-6, Math.max(domain[1], 1e-5)] : domain;
}

function domainOf(layers: Layer[], axis: "x" | "y"): [number, number] | null {
  const lists: (readonly (number | null)[])[] = [];
  for (const layer of layers) {
    if (layer.kind === "level") {
      if (axis === "y") lists.push([layer.y]);
    } else if (layer.kind === "vertical") {
      if (axis === "x") lists.push(layer.x);
    } else if (axis === "x") lists.push(layer.x);
    else if (layer.kind === "band") lists.push(layer.lower, layer.upper);
    else lists.push(layer.y);
  }
  return extent(lists);
}

/** The interval of a vertical axis that shows all measurements, and of curves what is not far beyond them. */
export function domainAround(layers: Layer[]): [number, number] | undefined {
  const measured = domainOf(layers.filter((layer) => layer.kind === "dots"), "y");
  const all = domainOf(layers, "y");
  if (!all || !measured) return all ? padded(all, 0.06) : undefined;
  const room = (measured[1] - measured[0]) * 0.8 || Math.abs(measured[0]) || 1;
  return padded([Math.max(all[0], measured[0] - room), Math.min(all[1], measured[1] + room)], 0.06);
}

interface Placed {
  x: Scale;
  y: Scale;
}

function Grid({ x, y, width, height, bottom, props }: Placed & { width: number; height: number; bottom: number; props: Props }) {
  const ticks = props.x.integer ? x.ticks.filter(Number.isInteger) : x.ticks;
  const plain = props.x.integer;
  return (
    <g>
      {y.ticks.map((tick) => (
        <g key={tick}>
          <line class="grid" x1={LEFT} x2={width - RIGHT} y1={y(tick)} y2={y(tick)} />
          <text class="tick" x={LEFT - 8} y={y(tick)} text-anchor="end" dominant-baseline="middle">
            {text(tick)}
          </text>
        </g>
      ))}
      {ticks.map((tick) => (
        <g key={tick}>
          <line class="grid" x1={x(tick)} x2={x(tick)} y1={TOP} y2={height - bottom} />
          {!props.x.hidden && (
            <text class="tick" x={x(tick)} y={height - bottom + 16} text-anchor="middle">
              {plain ? String(tick) : text(tick)}
            </text>
          )}
        </g>
      ))}
      <line class="axis" x1={LEFT} x2={width - RIGHT} y1={height - bottom} y2={height - bottom} />
      <line class="axis" x1={LEFT} x2={LEFT} y1={TOP} y2={height - bottom} />
      {!props.x.hidden && (
        <text class="axis-label" x={(LEFT + width - RIGHT) / 2} y={height - 4} text-anchor="middle">
          {props.x.label}
        </text>
      )}
      <text class="axis-label" transform={`translate(13 ${(TOP + height - bottom) / 2}) rotate(-90)`} text-anchor="middle">
        {shortened(props.y.label)}
      </text>
    </g>
  );
}

function shortened(name: string): string {
  return name.length <= 24 ? name : `${name.slice(0, 23)}…`;
}

function Drawn({ layer, x, y, width }: Placed & { layer: Layer; width: number }) {
  switch (layer.kind) {
    case "line":
      return (
        <path
          class={`line${layer.dashed ? " dashed" : ""}${layer.thin ? " thin" : ""}${layer.faint ? " faint" : ""}`}
          stroke={layer.colour}
          d={linePath(layer.x, layer.y, x, y, width)}
        />
      );
    case "dots":
      return <Dots layer={layer} x={x} y={y} />;
    case "band":
      return <path class="band" fill={layer.colour} d={bandPath(layer.x, layer.lower, layer.upper, x, y)} />;
    case "vertical":
      return (
        <g>
          {layer.x.map((at) => (
            <line key={at} class="instant" x1={x(at)} x2={x(at)} y1={y(y.domain[0])} y2={y(y.domain[1])} />
          ))}
        </g>
      );
    case "level":
      return <line class="level" x1={x(x.domain[0])} x2={x(x.domain[1])} y1={y(layer.y)} y2={y(layer.y)} />;
  }
}

function Dots({ layer, x, y }: Placed & { layer: Extract<Layer, { kind: "dots" }> }) {
  const stride = Math.ceil(layer.x.length / MOST_DOTS);
  let d = "";
  let bars = "";
  for (let i = 0; i < layer.x.length; i += stride) {
    const [across, up] = [layer.x[i], layer.y[i]];
    if (across == null || up == null) continue;
    d += `M${x(across).toFixed(1)} ${y(up).toFixed(1)}h0`;
    const sigma = layer.sigma?.[i];
    if (sigma) bars += `M${x(across).toFixed(1)} ${y(up - sigma).toFixed(1)}V${y(up + sigma).toFixed(1)}`;
  }
  const size = layer.large ? 9 : Math.min(6.5, Math.max(2.4, 60 / Math.sqrt(layer.x.length + 1)));
  return (
    <g>
      {bars && <path class="bars" stroke={layer.colour} d={bars} />}
      <path class="dots" stroke={layer.colour} stroke-width={size} d={d} />
      {layer.hollow && <path class="dots inner" stroke-width={size - 2} d={d} />}
    </g>
  );
}

/** The path of a line, with gaps where values are missing. Of many points in one column of pixels only the ends show. */
function linePath(xs: Values, ys: Values, x: Scale, y: Scale, width: number): string {
  const stride = Math.max(1, Math.floor(xs.length / (8 * width)));
  let d = "";
  let pen = "M";
  for (let i = 0; i < xs.length; i += stride) {
    const [across, up] = [xs[i], ys[i]];
    if (across == null || up == null || !Number.isFinite(up)) {
      pen = "M";
      continue;
    }
    const height = y(up);
    d += `${pen}${x(across).toFixed(1)} ${Math.max(-1e5, Math.min(1e5, height)).toFixed(1)}`;
    pen = "L";
  }
  return d;
}

function bandPath(xs: number[], lower: Values, upper: Values, x: Scale, y: Scale): string {
  const there: string[] = [];
  const back: string[] = [];
  xs.forEach((at, i) => {
    const [low, high] = [lower[i], upper[i]];
    if (low == null || high == null) return;
    there.push(`${x(at).toFixed(1)} ${y(low).toFixed(1)}`);
    back.push(`${x(at).toFixed(1)} ${y(high).toFixed(1)}`);
  });
  return there.length > 1 ? `M${there.join("L")}L${back.reverse().join("L")}Z` : "";
}

function Readout({ at, layers, x, y, height, bottom }: Placed & { at: number | null; layers: Layer[]; height: number; bottom: number }) {
  if (at === null || at < x.domain[0] || at > x.domain[1]) return null;
  const line = layers.find((layer) => layer.kind === "line");
  const value = line?.kind === "line" ? valueAt(line.x, line.y, at) : null;
  const isLeft = x(at) > (x(x.domain[0]) + x(x.domain[1])) / 2;
  return (
    <g class="readout">
      <line class="guide" x1={x(at)} x2={x(at)} y1={TOP} y2={height - bottom} />
      {value !== null && <circle class="guide-dot" cx={x(at)} cy={y(value)} r="4" />}
      <text class="tick strong" x={x(at) + (isLeft ? -8 : 8)} y={TOP + 10} text-anchor={isLeft ? "end" : "start"}>
        {text(at)}
        {value === null ? "" : `  ·  ${text(value)}`}
      </text>
    </g>
  );
}

/** The value of a curve at a place between its points; null outside. Its x must not decrease. */
export function valueAt(xs: Values, ys: Values, at: number): number | null {
  for (let i = 1; i < xs.length; i++) {
    const [left, right] = [xs[i - 1]!, xs[i]!];
    if (left <= at && at <= right) {
      const [before, after] = [ys[i - 1], ys[i]];
      if (before == null || after == null) return null;
      return right === left ? after : before + ((after - before) * (at - left)) / (right - left);
    }
  }
  return null;
}

function Handle({ x, width, height, bottom, onExtend }: {
  x: Scale;
  width: number;
  height: number;
  bottom: number;
  onExtend: (end: number, isDone: boolean) => void;
}) {
  const start = useRef<{ at: number; end: number; span: number } | null>(null);
  const span = x.domain[1] - x.domain[0];
  const endOf = (event: PointerEvent) => {
    const begin = start.current!;
    const moved = (event.clientX - begin.at) / (width - LEFT - RIGHT);
    return begin.end + begin.span * Math.max(-0.9, moved) * 2;
  };
  useEffect(() => () => void (start.current = null), []);
  return (
    <g
      class="handle"
      role="slider"
      tabindex={0} // of SVG elements, attributes have no other case
      aria-label="End of the time axis: drag to the right, or press the right arrow, to predict further"
      aria-valuenow={Number(x.domain[1].toPrecision(6))}
      onPointerDown={(event) => {
        (event.currentTarget as Element).setPointerCapture(event.pointerId);
        start.current = { at: event.clientX, end: x.domain[1], span };
      }}
      onPointerMove={(event) => start.current && onExtend(endOf(event), false)}
      onPointerUp={(event) => {
        if (start.current) onExtend(endOf(event), true);
        start.current = null;
      }}
      onKeyDown={(event) => {
        if (event.key === "ArrowRight") onExtend(x.domain[1] + span / 10, true);
        else if (event.key === "ArrowLeft") onExtend(x.domain[1] - span / 10, true);
        else return;
        event.preventDefault();
      }}
    >
      <rect x={width - RIGHT - 12} y={height - bottom - 15} width="24" height="30" fill="transparent" />
      <path class="handle-shape" d={`M${width - RIGHT - 4} ${height - bottom - 9}l9 9l-9 9z`} />
    </g>
  );
}
