/** The events of a fit, read by fetch: `EventSource` cannot send a key. */
import { errorOf, send } from "./client";
import { isBack, pause } from "./connection";
import type { Progress } from "./types";

export type FitEvent = { kind: "progress"; data: Progress } | { kind: "finished" };

interface Message {
  id: string;
  event: string;
  data: string;
}

/** Follow a fit to its end. A stream that breaks is resumed where it ended. Throws `ServiceError`, such as for 404. */
export async function* follow(id: string, signal: AbortSignal): AsyncGenerator<FitEvent> {
  let lastId = "";
  for (let attempt = 0; ; attempt++) {
    const headers: Record<string, string> = lastId ? { "Last-Event-ID": lastId } : {};
    const response = await send(`/fits/${encodeURIComponent(id)}/events`, { headers, signal, repeats: true });
    if (!response.ok || !response.body) throw await errorOf(response);
    isBack();
    try {
      for await (const message of messages(response.body)) {
        attempt = 0;
        lastId = message.id || lastId;
        if (message.event === "progress") yield { kind: "progress", data: JSON.parse(message.data) as Progress };
        if (message.event === "finished") {
          yield { kind: "finished" };
          return;
        }
      }
    } catch (error) {
      if (signal.aborted) throw error;
    }
    await pause(attempt, "The connection was lost.", signal);
  }
}

async function* messages(body: ReadableStream<Uint8Array>): AsyncGenerator<Message> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let text = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      text += decoder.decode(value, { stream: true });
      const blocks = text.split("\n\n");
      text = blocks.pop() ?? "";
      for (const block of blocks) yield parsed(block);
    }
  } finally {
    reader.cancel().catch(() => undefined);
  }
}

function parsed(block: string): Message {
  const message: Message = { id: "", event: "", data: "" };
  for (const line of block.split("\n")) {
    const colon = line.indexOf(": ");
    const field = line.slice(0, colon);
    if (field === "id" || field === "event" || field === "data") message[field] += line.slice(colon + 2);
  }
  return message;
}
