/**
 * CodeMirror for the model's text: highlighting, completion and mistakes.
 *
 * It stands in a shadow root, where CodeMirror adds its styles as constructed style sheets. In the document itself it
 * would add style elements, which the content security policy forbids.
 */
import { autocompletion, closeBrackets, completionKeymap, type CompletionContext } from "@codemirror/autocomplete";
import { defaultKeymap, history, historyKeymap } from "@codemirror/commands";
import { HighlightStyle, StreamLanguage, syntaxHighlighting, type StringStream } from "@codemirror/language";
import { lintGutter, lintKeymap, setDiagnostics } from "@codemirror/lint";
import { EditorState } from "@codemirror/state";
import { EditorView, keymap, placeholder, tooltips } from "@codemirror/view";
import { tags } from "@lezer/highlight";
import { FUNCTIONS } from "../../language/expression";
import type { LocalMistake } from "../../language/model";

export interface EditorHandle {
  setText: (text: string) => void;
  setMistakes: (mistakes: LocalMistake[]) => void;
  destroy: () => void;
}

interface Callbacks {
  onText: (text: string) => void;
  names: () => string[];
}

const KEYWORDS = new Set(["observe", "derive", "input", "inputs", "event", "when", "network", "parameters", "stop", "and", "or", "not"]);

const language = StreamLanguage.define({
  token(stream: StringStream) {
    if (stream.eatSpace()) return null;
    if (stream.match(/^#.*/)) return "comment";
    if (stream.match(/^(\d+\.?\d*|\.\d+)(e[-+]?\d+)?/i)) return "number";
    const word = stream.match(/^[A-Za-z_]\w*/) as RegExpMatchArray | null;
    if (word) {
      if (KEYWORDS.has(word[0])) return "keyword";
      if (stream.match(/^\s*'/, true)) return "definition";
      return FUNCTIONS.has(word[0]) ? "function" : "variableName";
    }
    stream.next();
    return "operator";
  },
  tokenTable: { definition: tags.definition(tags.variableName), function: tags.function(tags.variableName) },
});

const colours = HighlightStyle.define([
  { tag: tags.comment, color: "var(--soft)", fontStyle: "italic" },
  { tag: tags.number, color: "var(--warn)" },
  { tag: tags.keyword, color: "var(--accent)", fontWeight: "600" },
  { tag: tags.definition(tags.variableName), color: "var(--accent)", fontWeight: "600" },
  { tag: tags.function(tags.variableName), color: "var(--good)" },
]);

const look = EditorView.theme({
  "&": { color: "var(--ink)", backgroundColor: "var(--surface)", fontSize: "0.93rem", borderRadius: "7px" },
  "&.cm-focused": { outline: "2.5px solid var(--accent)", outlineOffset: "1px", borderRadius: "7px" },
  ".cm-scroller": { fontFamily: "var(--mono)", lineHeight: "1.6", minHeight: "7rem", maxHeight: "28rem", overflow: "auto" },
  ".cm-content": { caretColor: "var(--ink)" },
  ".cm-cursor": { borderLeftColor: "var(--ink)" },
  ".cm-gutters": { backgroundColor: "transparent", border: "none" },
  ".cm-tooltip": { backgroundColor: "var(--surface)", color: "var(--ink)", border: "1px solid var(--edge)", borderRadius: "6px" },
  ".cm-tooltip-autocomplete ul li[aria-selected]": { backgroundColor: "var(--accent)", color: "var(--on-accent)" },
  ".cm-placeholder": { color: "var(--soft)" },
  "&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground, .cm-selectionBackground, ::selection": {
    backgroundColor: "var(--accent-wash) !important",
  },
  ".cm-diagnostic": { fontFamily: "var(--sans)", maxWidth: "30rem" },
});

const EXAMPLE = "prey' = alpha*prey - beta*prey*predator\npredator' = gamma*prey*predator - delta*predator";

/** Make an editor in an element. */
export function createEditor(place: HTMLElement, text: string, callbacks: Callbacks): EditorHandle {
  const root = place.shadowRoot ?? place.attachShadow({ mode: "open" });
  let isOurs = false;
  const complete = (context: CompletionContext) => {
    const word = context.matchBefore(/[A-Za-z_]\w*/);
    if (!word && !context.explicit) return null;
    const names = callbacks.names().filter((name) => name !== word?.text);
    return {
      from: word?.from ?? context.pos,
      options: [
        ...names.map((label) => ({ label, type: "variable", boost: 2 })),
        ...[...FUNCTIONS].map((name) => ({ label: name, apply: `${name}(`, type: "function" })),
        ...[...KEYWORDS].map((label) => ({ label, type: "keyword" })),
      ],
    };
  };
  const view = new EditorView({
    root,
    parent: root,
    state: EditorState.create({
      doc: text,
      extensions: [
        history(), closeBrackets(), lintGutter(), language, syntaxHighlighting(colours), look, placeholder(EXAMPLE),
        EditorView.lineWrapping, tooltips({ parent: root as unknown as HTMLElement }),
        autocompletion({ override: [complete], icons: false }),
        // No Tab: it must lead out of the editor.
        keymap.of([...completionKeymap, ...defaultKeymap, ...historyKeymap, ...lintKeymap]),
        EditorView.contentAttributes.of({ "aria-label": "Equations", autocapitalize: "off", autocorrect: "off" }),
        EditorView.updateListener.of((update) => {
          if (update.docChanged && !isOurs) callbacks.onText(update.state.doc.toString());
        }),
      ],
    }),
  });
  return {
    setText: (next) => {
      if (next === view.state.doc.toString()) return;
      isOurs = true;
      view.dispatch({ changes: { from: 0, to: view.state.doc.length, insert: next } });
      isOurs = false;
    },
    setMistakes: (mistakes) => {
      const length = view.state.doc.length;
      const diagnostics = mistakes
        .filter((mistake) => mistake.from <= length)
        .map(({ from, to, detail }) => ({ from, to: Math.min(to, length), message: detail, severity: "error" as const }));
      view.dispatch(setDiagnostics(view.state, diagnostics));
    },
    destroy: () => view.destroy(),
  };
}
