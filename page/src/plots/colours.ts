/** The colours of Okabe and Ito, which colour-blind readers can tell apart: those of the service's own plots. */
export const COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"];

/** The colour of measurements: it differs between the light and the dark theme. */
export const DATA_COLOUR = "var(--data)";

/** The colour of an experiment, or of a fit among several. */
export function colourOf(position: number, count: number): string {
  if (count <= COLOURS.length) return COLOURS[position % COLOURS.length]!;
  const hue = 270 - (230 * position) / Math.max(1, count - 1);
  return `hsl(${hue.toFixed(0)} 62% 48%)`;
}
