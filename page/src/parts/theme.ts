/** Light or dark: as the system says, or as the reader has chosen. */
import { effect, signal } from "@preact/signals";

const STORED = "odefit-theme";
const system = window.matchMedia("(prefers-color-scheme: dark)");

export const isDark = signal(initial());

function initial(): boolean {
  const chosen = localStorage.getItem(STORED);
  return chosen === null ? system.matches : chosen === "dark";
}

system.addEventListener("change", () => (isDark.value = initial()));
effect(() => {
  document.documentElement.dataset.theme = isDark.value ? "dark" : "light";
});

/** Choose the other theme; the choice is kept unless it is what the system says anyway. */
export function switchTheme(): void {
  isDark.value = !isDark.value;
  if (isDark.value === system.matches) localStorage.removeItem(STORED);
  else localStorage.setItem(STORED, isDark.value ? "dark" : "light");
}
