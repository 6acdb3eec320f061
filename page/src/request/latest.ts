/** Runs of something slow, of which only the newest counts: at most one runs, and at most one waits. */

/**
 * A function that runs `work` for the newest argument. Arguments that come while it runs replace each other; the last
 * is used next. `done` gets each result, `failed` each error.
 */
export function latest<A, R>(
  work: (argument: A, signal: AbortSignal) => Promise<R>,
  done: (result: R, argument: A) => void,
  failed: (error: unknown, argument: A) => void,
): { run: (argument: A) => void; stop: () => void } {
  let waiting: { argument: A } | null = null;
  let controller: AbortController | null = null;

  async function loop(first: A): Promise<void> {
    let next: { argument: A } | null = { argument: first };
    while (next) {
      controller = new AbortController();
      const { signal } = controller;
      try {
        const result: R = await work(next.argument, signal);
        if (!signal.aborted) done(result, next.argument);
      } catch (error) {
        if (!signal.aborted) failed(error, next.argument);
      }
      if (signal.aborted) return;
      next = waiting;
      waiting = null;
    }
    controller = null;
  }

  return {
    run: (argument) => {
      if (controller) waiting = { argument };
      else void loop(argument);
    },
    stop: () => {
      controller?.abort();
      controller = null;
      waiting = null;
    },
  };
}
