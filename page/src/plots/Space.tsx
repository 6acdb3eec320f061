/** A phase space of three states, which can be turned with the mouse or the arrow keys. */
import { useSignal } from "@preact/signals";
import { useRef } from "preact/hooks";
import type { Values } from "../api/types";
import { extent } from "./scales";

interface Item {
  columns: Values[];
  colour: string;
  dashed?: boolean;
}

const SIZE = 400;
const TURN = 0.01; // radians a pixel
const CORNERS = [0, 1, 2, 3, 4, 5, 6, 7].map((i) => [i & 1, (i >> 1) & 1, (i >> 2) & 1].map((bit) => bit * 2 - 1));
const EDGES = CORNERS.flatMap((_, i) => [1, 2, 4].filter((bit) => !(i & bit)).map((bit) => [i, i | bit] as const));

export function Space({ names, lines, dots }: { names: string[]; lines: Item[]; dots: Item[] }) {
  const turn = useSignal<[number, number]>([0.7, 0.35]);
  const from = useRef<{ x: number; y: number; turn: [number, number] } | null>(null);
  const ranges = names.map((_, axis) => extent([...lines, ...dots].map((item) => item.columns[axis] ?? [])) ?? ([0, 1] as [number, number]));
  const place = projection(turn.value);
  const scaled = (item: Item, i: number): number[] | null => {
    const point = names.map((_, axis) => {
      const value = item.columns[axis]?.[i];
      const [low, high] = ranges[axis]!;
      return value == null ? NaN : (2 * (value - low)) / (high - low || 1) - 1;
    });
    return point.some(Number.isNaN) ? null : place(point);
  };
  const rotate = (across: number, up: number, begin = turn.value) => {
    turn.value = [begin[0] + across, Math.max(-1.5, Math.min(1.5, begin[1] + up))];
  };
  return (
    <svg
      class="drawing space"
      viewBox={`0 0 ${SIZE} ${SIZE}`}
      role="application"
      tabindex={0}
      aria-label={`Trajectory in the space of ${names.join(", ")}. Turn it with the arrow keys or by dragging.`}
      onPointerDown={(event) => {
        event.currentTarget.setPointerCapture(event.pointerId);
        from.current = { x: event.clientX, y: event.clientY, turn: turn.value };
      }}
      onPointerMove={(event) => {
        const begin = from.current;
        if (begin) rotate((event.clientX - begin.x) * TURN, (event.clientY - begin.y) * TURN, begin.turn);
      }}
      onPointerUp={() => (from.current = null)}
      onKeyDown={(event) => {
        const step = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, -0.1], ArrowDown: [0, 0.1] }[event.key];
        if (!step) return;
        event.preventDefault();
        rotate(step[0]!, step[1]!);
      }}
    >
      {EDGES.map(([a, b]) => {
        const [x1, y1] = place(CORNERS[a]!);
        const [x2, y2] = place(CORNERS[b]!);
        return <line key={`${a}-${b}`} class="grid" x1={x1} y1={y1} x2={x2} y2={y2} />;
      })}
      {names.map((name, axis) => {
        const end = [-1, -1, -1];
        end[axis] = 1.18;
        const [x, y] = place(end);
        return (
          <text key={name} class="axis-label" x={x} y={y} text-anchor="middle">
            {name.slice(0, 20)}
          </text>
        );
      })}
      {dots.map((item, k) => (
        <path key={`d${k}`} class="dots" stroke={item.colour} stroke-width="3.5" d={path(item, scaled, (x, y) => `M${x} ${y}h0`)} />
      ))}
      {lines.map((item, k) => (
        <path
          key={`l${k}`}
          class={item.dashed ? "line dashed thin" : "line thin"}
          stroke={item.colour}
          d={path(item, scaled, (x, y, i) => `${i ? "L" : "M"}${x} ${y}`)}
        />
      ))}
    </svg>
  );
}

function path(item: Item, scaled: (item: Item, i: number) => number[] | null, write: (x: string, y: string, i: number) => string): string {
  let d = "";
  for (let i = 0; i < (item.columns[0]?.length ?? 0); i++) {
    const point = scaled(item, i);
    if (point) d += write(point[0]!.toFixed(1), point[1]!.toFixed(1), d.length);
  }
  return d;
}

/** From the cube [−1, 1]³ to the picture, seen from an angle around the vertical axis and one above the horizon. */
function projection([around, above]: [number, number]): (point: number[]) => number[] {
  const [ca, sa, cb, sb] = [Math.cos(around), Math.sin(around), Math.cos(above), Math.sin(above)];
  return ([x = 0, y = 0, z = 0]) => {
    const right = x * ca - y * sa;
    const deep = x * sa + y * ca;
    return [SIZE / 2 + right * SIZE * 0.27, SIZE / 2 - (z * cb - deep * sb) * SIZE * 0.27];
  };
}
