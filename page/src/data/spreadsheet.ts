/** Excel files. This module, and the reader with it, is loaded when the first one is opened. */
import { readSheet } from "read-excel-file/universal";

/** The cells of the first sheet as text. */
export async function readRows(file: Blob): Promise<string[][]> {
  const rows = await readSheet(file);
  return rows.map((row) => row.map((cell) => (cell === null ? "" : cell instanceof Date ? cell.toISOString() : String(cell))));
}
