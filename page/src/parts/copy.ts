import { announce } from "./announce";

/** Copy a text; false where the browser permits it only on secure pages. */
export async function copyText(text: string, said: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    return false;
  }
  announce(said);
  return true;
}
