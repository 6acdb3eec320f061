/** From numbers to pixels, and the ticks of an axis. */

export interface Scale {
  (value: number): number;
  invert(pixel: number): number;
  ticks: number[];
  domain: [number, number];
}

/** A scale from `domain` to `range` in pixels, with about `count` ticks. */
export function scale(domain: [number, number], range: [number, number], isLog = false, count = 6): Scale {
  const [from, to] = isLog ? [Math.log10(domain[0]), Math.log10(domain[1])] : domain;
  const factor = (range[1] - range[0]) / (to - from || 1);
  const position = (value: number) => range[0] + ((isLog ? Math.log10(value) : value) - from) * factor;
  return Object.assign(position, {
    invert: (pixel: number) => {
      const value = from + (pixel - range[0]) / factor;
      return isLog ? 10 ** value : value;
    },
    ticks: isLog ? logTicks(domain, count) : linearTicks(domain, count),
    domain,
  });
}

function linearTicks([from, to]: [number, number], count: number): number[] {
  const step = niceStep((to - from) / Math.max(1, count));
  if (!(step > 0)) return [from];
  const first = Math.ceil(from / step - 1e-9);
  const last = Math.floor(to / step + 1e-9);
  return Array.from({ length: Math.min(50, last - first + 1) }, (_, i) => rounded((first + i) * step, step));
}

function niceStep(rough: number): number {
  const power = 10 ** Math.floor(Math.log10(rough));
  const multiple = rough / power;
  return power * (multiple < 1.5 ? 1 : multiple < 3.5 ? 2 : multiple < 7.5 ? 5 : 10);
}

function rounded(value: number, step: number): number {
  const digits = Math.max(0, Math.min(100, 1 - Math.floor(Math.log10(step))));
  return Number(value.toFixed(digits));
}

function logTicks([from, to]: [number, number], count: number): number[] {
  const first = Math.floor(Math.log10(from));
  const last = Math.ceil(Math.log10(to));
  const stride = Math.max(1, Math.ceil((last - first) / count));
  const multiples = last - first <= 2 ? [1, 2, 5] : [1];
  const ticks: number[] = [];
  for (let power = first; power <= last; power += stride)
    for (const multiple of multiples) ticks.push(multiple * 10 ** power);
  const inside = ticks.filter((tick) => tick >= from * (1 - 1e-9) && tick <= to * (1 + 1e-9));
  return inside.length > 1 ? inside : linearTicks([from, to], count);
}

/** The smallest interval that contains all finite numbers; null if there are none. */
export function extent(lists: Iterable<readonly (number | null)[]>): [number, number] | null {
  let low = Infinity;
  let high = -Infinity;
  for (const list of lists)
    for (const value of list)
      if (value !== null && Number.isFinite(value)) {
        if (value < low) low = value;
        if (value > high) high = value;
      }
  return low <= high ? [low, high] : null;
}

/** An interval widened by a share of its length, or by something visible if it is a point. */
export function padded([low, high]: [number, number], share: number): [number, number] {
  const margin = high > low ? (high - low) * share : Math.abs(low) * 0.1 || 1;
  return [low - margin, high + margin];
}

const MINUS = "\u2212";

/** A number as people write it: up to `digits` significant ones, with powers of ten only where these are shorter. */
export function text(value: number | null | undefined, digits = 4): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  let written: string;
  if (size >= 1e6 || size < 1e-4) {
    const [mantissa = "", power = ""] = value.toExponential(digits - 1).split("e");
    const short = mantissa.includes(".") ? mantissa.replace(/\.?0+$/, "") : mantissa;
    written = `${short}e${power.replace("+", "")}`;
  } else {
    written = value.toPrecision(Math.max(digits, Math.ceil(Math.log10(size + 1))));
    if (written.includes("e")) written = String(Number(written));
    else if (written.includes(".")) written = written.replace(/\.?0+$/, "");
  }
  return written.replaceAll("-", MINUS);
}

/** An estimate with as many digits as its standard error justifies. */
export function estimateText(value: number, error?: number): string {
  if (!error || !(error > 0)) return text(value, 5);
  const digits = Math.ceil(Math.log10(Math.abs(value) / error)) + 2;
  return text(value, Math.max(2, Math.min(10, digits)));
}
