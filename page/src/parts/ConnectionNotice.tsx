/** Says that the service cannot be reached, and when the page tries again. */
import { useEffect, useState } from "preact/hooks";
import { lost } from "../api/connection";

export function ConnectionNotice() {
  const state = lost.value;
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    if (!state) return;
    const timer = setInterval(() => setNow(Date.now()), 500);
    return () => clearInterval(timer);
  }, [state]);
  const seconds = state ? Math.max(0, Math.ceil((state.retryAt - now) / 1000)) : 0;
  return (
    <div class="connection" role="status">
      {state && (
        <p>
          <strong>No connection.</strong> {state.reason} Fits go on without this page.{" "}
          <span aria-hidden="true">{seconds > 0 ? `Trying again in ${seconds} s.` : "Trying again …"}</span>
        </p>
      )}
    </div>
  );
}
