/** Requests to the service: with the session's key, repeated while the service is away, errors as `ServiceError`. */
import { askForKey, currentKey, isBack, pause } from "./connection";
import type { Fit, FitRequest, Mistake, ProblemBody, Simulation, System } from "./types";

/** An error response of the service. */
export class ServiceError extends Error {
  readonly code: string;
  readonly status: number;
  readonly mistakes: Mistake[];

  constructor(body: ProblemBody) {
    super(body.detail || body.title);
    this.code = body.type.replace("urn:odefit:error:", "");
    this.status = body.status;
    this.mistakes = body.errors ?? [];
  }
}

interface Options {
  method?: string;
  body?: unknown;
  headers?: Record<string, string>;
  signal?: AbortSignal;
  /** Whether to repeat the request while the service cannot be reached or is too busy. */
  repeats?: boolean;
}

const AWAY = new Set([502, 503, 504]);

/** Send a request and return the response, whatever its status, except 401: then a key is asked for. */
export async function send(path: string, options: Options = {}): Promise<Response> {
  for (let attempt = 0; ; attempt++) {
    options.signal?.throwIfAborted();
    const key = currentKey();
    let reason = "The service does not respond.";
    try {
      const response = await fetch(path, {
        method: options.method ?? "GET",
        headers: headersOf(options, key),
        body: options.body === undefined ? undefined : JSON.stringify(options.body),
        signal: options.signal,
        cache: "no-store",
      });
      if (response.status === 401) {
        await askForKey(key);
        attempt = -1;
        continue;
      }
      if (!options.repeats || !AWAY.has(response.status)) {
        if (!AWAY.has(response.status)) isBack();
        return response;
      }
      reason = (await errorOf(response)).message;
    } catch (error) {
      if (options.signal?.aborted || !(error instanceof TypeError) || !options.repeats) throw error;
    }
    await pause(attempt, reason, options.signal);
  }
}

function headersOf(options: Options, key: string | null): Record<string, string> {
  return {
    ...(options.body === undefined ? {} : { "Content-Type": "application/json" }),
    ...(key === null ? {} : { Authorization: `Bearer ${key}` }),
    ...options.headers,
  };
}

/** The error that a response describes. */
export async function errorOf(response: Response): Promise<ServiceError> {
  try {
    return new ServiceError((await response.json()) as ProblemBody);
  } catch {
    const title = `The service answered with status ${response.status}.`;
    return new ServiceError({ type: "unknown", title, status: response.status, detail: title });
  }
}

async function json<T>(path: string, options: Options = {}): Promise<T> {
  const response = await send(path, options);
  if (!response.ok) throw await errorOf(response);
  return (await response.json()) as T;
}

/** The catalogue of systems. */
export async function systems(signal?: AbortSignal): Promise<System[]> {
  return (await json<{ systems: System[] }>("/systems", { signal, repeats: true })).systems;
}

/** Submit a fit. A repeated attempt cannot submit it twice. */
export function submit(request: FitRequest): Promise<Fit> {
  const headers = { "Idempotency-Key": crypto.getRandomValues(new Uint32Array(4)).join("-") };
  return json<Fit>("/fits", { method: "POST", body: request, headers, repeats: true });
}

/** The mistakes of a request: none if it is valid. */
export async function mistakesOf(request: FitRequest, signal?: AbortSignal): Promise<Mistake[]> {
  const response = await send("/fits?validate_only=true", { method: "POST", body: request, signal });
  if (response.ok) return [];
  const error = await errorOf(response);
  if (error.code !== "invalid_request") throw error;
  return error.mistakes;
}

/** Trajectories at the guesses of a request. */
export function simulate(request: unknown, signal?: AbortSignal): Promise<Simulation> {
  return json<Simulation>("/simulations", { method: "POST", body: request, signal });
}

/** A fit with its result, if it has one. */
export function readFit(id: string, signal?: AbortSignal): Promise<Fit> {
  return json<Fit>(`/fits/${encodeURIComponent(id)}`, { signal, repeats: true });
}

/** The request of a fit, with all defaults filled in. */
export async function requestOf(id: string, signal?: AbortSignal): Promise<FitRequest> {
  const path = `/fits/${encodeURIComponent(id)}/problem`;
  return (await json<{ request: FitRequest }>(path, { signal, repeats: true })).request;
}

/** A page of the list of fits, newest first. */
export function listFits(cursor?: string, signal?: AbortSignal): Promise<{ fits: Fit[]; next_cursor?: string }> {
  const query = new URLSearchParams({ limit: "30", ...(cursor ? { cursor } : {}) });
  return json(`/fits?${query}`, { signal, repeats: true });
}

/** Cancel a fit. One that has just ended otherwise is left as it is. */
export async function cancel(id: string): Promise<void> {
  const response = await send(`/fits/${encodeURIComponent(id)}/cancel`, { method: "POST", repeats: true });
  if (!response.ok && response.status !== 409) throw await errorOf(response);
}

/** A file of a fit, such as its table. */
export async function file(id: string, name: string): Promise<Blob> {
  const response = await send(`/fits/${encodeURIComponent(id)}/${name}`, { repeats: true });
  if (!response.ok) throw await errorOf(response);
  return response.blob();
}
