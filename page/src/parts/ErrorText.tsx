/** An error in words, with all mistakes of a request. */
import { ServiceError } from "../api/client";

export function ErrorText({ error }: { error: unknown }) {
  if (!error) return null;
  const mistakes = error instanceof ServiceError ? error.mistakes : [];
  return (
    <div class="problem" role="alert">
      {mistakes.length ? (
        <ul>
          {mistakes.map((mistake) => (
            <li key={mistake.pointer}>
              {mistake.detail} {mistake.pointer && <code>{mistake.pointer}</code>}
            </li>
          ))}
        </ul>
      ) : (
        <p>{error instanceof Error ? error.message : String(error)}</p>
      )}
    </div>
  );
}
