/** The colours of Okabe and Ito, which colour-blind readers can tell apart: those of the service's own plots. */
import { isDark } from "../parts/theme";

export const COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"];

/** The colour of measurements: it differs between the light and the dark theme. */
export const DATA_COLOUR = "var(--data)";

/** Viridis, in steps of a ninth. */
const MAP = ["440154", "482878", "3e4989", "31688e", "26828e", "1f9e89", "35b779", "6ece58", "b5de2b", "fde725"].map((hex) =>
  [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16)),
);

/** The colour of an experiment, or of a fit among several: if there are many, a step of a colour map. */
export function colourOf(position: number, count: number): string {
  if (count <= COLOURS.length) return COLOURS[position % COLOURS.length]!;
  // One end of the map is too pale on white, the other too dark on black.
  const [from, to] = isDark.value ? [0.3, 1] : [0, 0.92];
  const at = (from + ((to - from) * position) / (count - 1)) * (MAP.length - 1);
  const left = Math.min(MAP.length - 2, Math.floor(at));
  const mixed = MAP[left]!.map((value, i) => Math.round(value + (MAP[left + 1]![i]! - value) * (at - left)));
  return `rgb(${mixed.join(" ")})`;
}
