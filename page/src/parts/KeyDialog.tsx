/** Asks for the key of the service, once a session. */
import { useEffect, useRef } from "preact/hooks";
import { keyQuestion } from "../api/connection";

export function KeyDialog() {
  const dialog = useRef<HTMLDialogElement>(null);
  const question = keyQuestion.value;
  useEffect(() => {
    if (question) dialog.current?.showModal();
    else dialog.current?.close();
  }, [question]);
  const answer = (event: SubmitEvent) => {
    event.preventDefault();
    const field = (event.currentTarget as HTMLFormElement).elements.namedItem("key") as HTMLInputElement;
    const key = field.value.trim();
    field.value = "";
    if (key) question?.answer(key);
  };
  return (
    <dialog ref={dialog} class="key-dialog" aria-labelledby="key-title" onCancel={(event) => event.preventDefault()}>
      <form onSubmit={answer}>
        <h2 id="key-title">This service needs a key</h2>
        {question?.wasRefused && (
          <p class="problem" role="alert">
            The service refused this key. Check that it is complete, and that it has not been revoked.
          </p>
        )}
        <p>Whoever runs the service gives you one. The page keeps it until you close this tab.</p>
        <label>
          Key
          <input name="key" type="password" autocomplete="off" required autofocus />
        </label>
        <button class="primary" type="submit">
          Use this key
        </button>
      </form>
    </dialog>
  );
}
