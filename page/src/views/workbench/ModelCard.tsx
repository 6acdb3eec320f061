/** The model: a system of the catalogue, or equations of one's own. */
import { useComputed } from "@preact/signals";
import { namesIn } from "../../language/expression";
import type { LocalMistake } from "../../language/model";
import * as draft from "../../request/draft";
import { Editor } from "./Editor";
import { Mathematics } from "./Mathematics";

const NEW = "";

export function ModelCard() {
  const mistakes = useComputed(located);
  const { states, parameters = [] } = draft.definition.value;
  const choose = (name: string) => {
    const system = draft.catalogue.value.find((one) => one.name === name);
    if (system) draft.chooseSystem(system);
    else draft.setText("");
  };
  return (
    <section class="card" aria-labelledby="model-title">
      <div class="card-head">
        <h2 id="model-title">Model</h2>
        <label>
          Begin with{" "}
          <select value={draft.catalogueName.value ?? NEW} onChange={(event) => choose(event.currentTarget.value)}>
            <option value={NEW}>own equations</option>
            {draft.catalogue.value.map((system) => (
              <option key={system.name} value={system.name}>
                {system.title}
              </option>
            ))}
          </select>
        </label>
      </div>
      <Editor
        text={draft.text}
        onText={draft.setText}
        mistakes={mistakes.value}
        names={[...new Set([...states, ...parameters, ...namesIn(draft.text.value)])]}
      />
      <ul class="mistakes" aria-live="polite">
        {mistakes.value.slice(0, 5).map((mistake, i) => (
          <li key={i}>
            Line {lineOf(mistake.from)}: {mistake.detail}
          </li>
        ))}
      </ul>
      <Mathematics definition={draft.definition.value} />
      {states.length > 0 && (
        <p class="note">
          {states.length === 1 ? "State" : "States"}: {states.join(", ")}
          {parameters.length > 0 && `. ${parameters.length === 1 ? "Parameter" : "Parameters"}: ${parameters.join(", ")}`}
        </p>
      )}
      <Help />
    </section>
  );
}

function lineOf(at: number): number {
  return draft.text.value.slice(0, at).split("\n").length;
}

/** All mistakes of the text, the service's among them: under the name that they quote, or the whole expression. */
function located(): LocalMistake[] {
  const { places, mistakes } = draft.model.value;
  const text = draft.text.value;
  const ours = draft.mistakes.value.flatMap(({ pointer = "", detail }) => {
    const place = placeOf(pointer, places);
    if (!place) return [];
    const quoted = /'([A-Za-z_]\w*|\S{1,3})'/.exec(detail)?.[1];
    const inside = text.slice(place.from, place.to);
    const word = quoted && new RegExp(`(?<!\\w)${quoted.replace(/\W/g, "\\$&")}(?!\\w)`).exec(inside);
    if (!word) return [{ ...place, detail }];
    const from = place.from + word.index;
    return [{ from, to: from + quoted.length, detail }];
  });
  return [...mistakes, ...ours].sort((a, b) => a.from - b.from);
}

function placeOf(pointer: string, places: Map<string, { from: number; to: number }>) {
  for (let path = pointer; path.length > 1; path = path.slice(0, path.lastIndexOf("/"))) {
    const place = places.get(path);
    if (place) return place;
  }
  return pointer.startsWith("/system") && draft.text.value ? { from: 0, to: draft.text.value.length } : null;
}

const NOTATION: [string, string][] = [
  ["x' = -k*x", "an equation; dx/dt = … is the same. Powers are x**2"],
  ["N = 763", "a constant, which is not fitted"],
  ["rate = k*x/N", "a definition, to use in other lines"],
  ["x(0) = N - y0", "an initial state made of parameters"],
  ["observe total = x + y", "what is measured, if it is not the states themselves"],
  ["derive R0 = beta/gamma", "reported with its interval"],
  ["input feed", "a known function of time"],
  ["event hit: when h < 0 and v < 0: v = -e*v", "what happens at a condition; += adds"],
  ["network f(x, y) -> u, v [8] tanh", "a trainable function with outputs u and v"],
  ["# …", "a remark"],
];

function Help() {
  return (
    <details class="help">
      <summary>How to write equations</summary>
      <dl>
        {NOTATION.map(([written, meaning]) => (
          <div key={written}>
            <dt>
              <code>{written}</code>
            </dt>
            <dd>{meaning}</dd>
          </div>
        ))}
      </dl>
      <p class="note">Every other name is a parameter. Functions: exp, log, sqrt, sin, tanh, min, max, where(condition, a, b) and more.</p>
    </details>
  );
}
