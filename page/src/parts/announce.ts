/** What a screen reader says when something changes that the eye sees anyway. */
import { signal } from "@preact/signals";

export const announcement = signal("");

export function announce(text: string): void {
  announcement.value = text;
}
