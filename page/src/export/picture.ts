/** Figures as files: the SVG that is on the page, with its styles, and a PNG of it. */

const PROPERTIES = [
  "fill", "stroke", "stroke-width", "stroke-dasharray", "stroke-linecap", "stroke-linejoin", "opacity", "font-size",
  "font-family", "font-weight", "text-anchor", "dominant-baseline", "paint-order",
];
const NAMESPACE = "http://www.w3.org/2000/svg";
const PNG_SCALE = 2;

/** All drawings in an element, below each other in one SVG. */
export function svgOf(place: Element): { text: string; width: number; height: number } {
  const drawings = [...place.querySelectorAll<SVGSVGElement>("svg.drawing")];
  const whole = document.createElementNS(NAMESPACE, "svg");
  let height = 0;
  let width = 0;
  for (const drawing of drawings) {
    const box = drawing.getBoundingClientRect();
    const copy = styledCopy(drawing);
    copy.setAttribute("y", String(height));
    copy.setAttribute("width", String(box.width));
    copy.setAttribute("height", String(box.height));
    whole.append(copy);
    height += box.height;
    width = Math.max(width, box.width);
  }
  const paper = document.createElementNS(NAMESPACE, "rect");
  for (const [name, value] of Object.entries({ width, height, fill: getComputedStyle(place).backgroundColor }))
    paper.setAttribute(name, String(value));
  paper.setAttribute("fill", getComputedStyle(document.documentElement).getPropertyValue("--surface").trim());
  whole.prepend(paper);
  for (const [name, value] of Object.entries({ xmlns: NAMESPACE, width, height, viewBox: `0 0 ${width} ${height}` }))
    whole.setAttribute(name, String(value));
  return { text: new XMLSerializer().serializeToString(whole), width, height };
}

function styledCopy(drawing: SVGSVGElement): SVGSVGElement {
  const copy = drawing.cloneNode(true) as SVGSVGElement;
  copy.querySelectorAll(".handle, .readout").forEach((element) => element.remove());
  const originals = [...drawing.querySelectorAll("*")].filter((element) => !element.closest(".handle, .readout"));
  const copies = [...copy.querySelectorAll("*")];
  originals.forEach((original, i) => {
    const style = getComputedStyle(original);
    for (const name of PROPERTIES) copies[i]!.setAttribute(name, style.getPropertyValue(name));
    copies[i]!.removeAttribute("class");
  });
  return copy;
}

/** The same as a PNG. */
export async function pngOf(place: Element): Promise<Blob> {
  const { text, width, height } = svgOf(place);
  const url = URL.createObjectURL(new Blob([text], { type: "image/svg+xml" }));
  try {
    const image = new Image();
    image.src = url;
    await image.decode();
    const canvas = document.createElement("canvas");
    canvas.width = width * PNG_SCALE;
    canvas.height = height * PNG_SCALE;
    canvas.getContext("2d")!.drawImage(image, 0, 0, canvas.width, canvas.height);
    return await new Promise((resolve, reject) =>
      canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("The picture cannot be made."))), "image/png"),
    );
  } finally {
    URL.revokeObjectURL(url);
  }
}

/** Hand a file to the browser's downloads. */
export function save(content: Blob | string, name: string): void {
  const blob = typeof content === "string" ? new Blob([content], { type: "text/plain" }) : content;
  const url = URL.createObjectURL(blob);
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
