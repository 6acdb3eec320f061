/** The editor of the model's text. CodeMirror is loaded when it is first shown; until then a plain field stands there. */
import type { ReadonlySignal } from "@preact/signals";
import { useEffect, useRef, useState } from "preact/hooks";
import type { LocalMistake } from "../../language/model";
import type { EditorHandle } from "./codeMirror";

interface Props {
  text: ReadonlySignal<string>;
  onText: (text: string) => void;
  mistakes: LocalMistake[];
  names: string[];
}

export function Editor({ text, onText, mistakes, names }: Props) {
  const place = useRef<HTMLDivElement>(null);
  const handle = useRef<EditorHandle | null>(null);
  const latest = useRef({ onText, names });
  latest.current = { onText, names };
  const [isLoaded, setLoaded] = useState(false);
  useEffect(() => {
    let isGone = false;
    import("./codeMirror").then(({ createEditor }) => {
      if (isGone || !place.current) return;
      handle.current = createEditor(place.current, text.peek(), {
        onText: (next) => latest.current.onText(next),
        names: () => latest.current.names,
      });
      setLoaded(true);
    }, () => undefined); // the plain field goes on working
    return () => {
      isGone = true;
      handle.current?.destroy();
      handle.current = null;
    };
  }, []);
  // The newest text, not that of this rendering: while somebody types, the editor may be ahead of it.
  useEffect(() => handle.current?.setText(text.peek()), [text.value, isLoaded]);
  useEffect(() => handle.current?.setMistakes(mistakes), [mistakes, isLoaded]);
  return (
    <>
      <div ref={place} class="editor" />
      {!isLoaded && (
        <textarea
          class="editor-plain"
          aria-label="Equations"
          rows={Math.max(4, text.value.split("\n").length + 1)}
          spellcheck={false}
          value={text.value}
          onInput={(event) => onText(event.currentTarget.value)}
        />
      )}
    </>
  );
}
