/** Equations as mathematics. KaTeX is loaded when there is something to set. */
import { useEffect, useRef } from "preact/hooks";
import type { Definition } from "../../api/types";
import { systemLatex } from "../../language/latex";

type Katex = typeof import("katex").default;
let loading: Promise<Katex> | null = null;

function katex(): Promise<Katex> {
  loading ??= Promise.all([import("katex"), import("katex/dist/katex.min.css")]).then(([module]) => module.default);
  return loading;
}

export function Mathematics({ definition }: { definition: Definition }) {
  const place = useRef<HTMLDivElement>(null);
  const lines = systemLatex(definition);
  const source = lines.length ? `\\begin{aligned}${lines.join("\\\\[3pt]")}\\end{aligned}` : "";
  useEffect(() => {
    let isGone = false;
    if (!source) place.current?.replaceChildren();
    else
      katex().then((set) => {
        // render() makes elements; strings of HTML would have style attributes, which the policy forbids.
        if (!isGone && place.current) set.render(source, place.current, { displayMode: true, throwOnError: false, trust: false });
      }, () => undefined);
    return () => {
      isGone = true;
    };
  }, [source]);
  return <div ref={place} class="mathematics" role="region" tabIndex={0} aria-label="The equations as mathematics" />;
}
