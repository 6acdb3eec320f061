/** Tables as people paste them: CSV with any common separator, or the cells of a spreadsheet. */

export interface Table {
  names: string[];
  rows: string[][];
}

const SEPARATORS = ["\t", ";", ","];
const MISSING = new Set(["", "na", "nan", "n/a", "null", "none", ".", "-", "?"]);

/** Read a text. Raises `Error` in words that say what to change. */
export function parseTable(text: string): Table {
  const lines = text.replace(/^\uFEFF/, "").split(/\r\n|\n|\r/);
  const kept = lines.filter((line) => line.trim() && !line.trimStart().startsWith("#"));
  if (!kept.length) throw new Error("There is nothing in this table.");
  const separator = SEPARATORS.find((one) => kept[0]!.includes(one)) ?? (areColumns(kept) ? " " : ",");
  return tableOf(kept.map((line) => cells(line, separator)));
}

/** A table from rows of cells, the first of which may have the names. */
export function tableOf(all: string[][]): Table {
  const [first = []] = all;
  const hasNames = first.some((cell) => cell !== "" && !isNumber(cell) && !isMissing(cell));
  const width = Math.max(...all.map((row) => row.length));
  const given = hasNames ? first : [];
  const names = Array.from({ length: width }, (_, i) => given[i]?.trim() || `column ${i + 1}`);
  const rows = (hasNames ? all.slice(1) : all).map((row) => names.map((_, i) => row[i] ?? ""));
  if (!rows.length) throw new Error("This table has names of columns, but no rows.");
  if (width < 2) throw new Error("This table has one column only. It needs times in one, and measurements in another.");
  return { names: distinct(names), rows };
}

/** Whether spaces separate as many cells in each line. */
function areColumns(lines: string[]): boolean {
  const counts = new Set(lines.map((line) => line.trim().split(/\s+/).length));
  return counts.size === 1 && !counts.has(1);
}

function cells(line: string, separator: string): string[] {
  if (separator === " ") return line.trim().split(/\s+/);
  const found: string[] = [];
  let cell = "";
  let quoted = false;
  for (let i = 0; i < line.length; i++) {
    const character = line[i]!;
    if (quoted && character === '"' && line[i + 1] === '"') cell += line[++i];
    else if (character === '"' && (quoted || cell.trim() === "")) {
      quoted = !quoted;
      if (quoted) cell = "";
    } else if (character === separator && !quoted) {
      found.push(cell.trim());
      cell = "";
    } else cell += character;
  }
  return [...found, cell.trim()];
}

function distinct(names: string[]): string[] {
  const seen = new Map<string, number>();
  return names.map((name) => {
    const count = (seen.get(name) ?? 0) + 1;
    seen.set(name, count);
    return count === 1 ? name : `${name} (${count})`;
  });
}

export function isMissing(cell: string): boolean {
  return MISSING.has(cell.trim().toLowerCase());
}

/** Whether a cell is a number; a comma may stand for the decimal point. */
export function isNumber(cell: string): boolean {
  return numberOf(cell) !== null;
}

/** The number in a cell, or null. */
export function numberOf(cell: string): number | null {
  const text = cell.trim().replace(/^([-+]?\d*),(\d+)/, "$1.$2").replace("\u2212", "-");
  if (!/^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i.test(text)) return null;
  const value = Number(text);
  return Number.isFinite(value) ? value : null;
}
