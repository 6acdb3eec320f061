/** What the page knows about its connection to the service, and the key it uses. */
import { signal } from "@preact/signals";

/** When the next attempt is made, while the service cannot be reached; null while it can. */
export const lost = signal<{ retryAt: number; reason: string } | null>(null);

/** The question for a key, while one is open. */
export const keyQuestion = signal<{ wasRefused: boolean; answer: (key: string) => void } | null>(null);

const STORED = "odefit-key";
let asking: Promise<void> | null = null;

/** The key of this session, or null. It is kept for the tab only. */
export function currentKey(): string | null {
  return sessionStorage.getItem(STORED);
}

/** Ask for a key, once for all requests that wait for it. `refused`: the key that the service has just refused. */
export function askForKey(refused: string | null): Promise<void> {
  if (currentKey() !== refused) return Promise.resolve(); // another request has brought a new one meanwhile
  asking ??= new Promise<void>((resolve) => {
    keyQuestion.value = {
      wasRefused: refused !== null,
      answer: (key) => {
        sessionStorage.setItem(STORED, key);
        keyQuestion.value = null;
        asking = null;
        resolve();
      },
    };
  });
  return asking;
}

const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 8000;

/** Wait before attempt number `attempt` (from 0), longer each time, or until the browser says that it is online. */
export function pause(attempt: number, reason: string, signal?: AbortSignal): Promise<void> {
  const milliseconds = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** attempt) * (0.8 + 0.4 * Math.random());
  lost.value = { retryAt: Date.now() + milliseconds, reason };
  return new Promise((resolve, reject) => {
    const end = (settle: () => void) => () => {
      clearTimeout(timer);
      window.removeEventListener("online", proceed);
      signal?.removeEventListener("abort", stop);
      settle();
    };
    const proceed = end(resolve);
    const stop = end(() => reject(signal?.reason));
    const timer = setTimeout(proceed, milliseconds);
    window.addEventListener("online", proceed);
    signal?.addEventListener("abort", stop);
  });
}

/** Note that the service has answered. */
export function isBack(): void {
  if (lost.value) lost.value = null;
}
