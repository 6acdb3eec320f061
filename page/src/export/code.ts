/** A request as text: JSON, and programs that send it. */
import { currentKey } from "../api/connection";
import type { FitRequest } from "../api/types";

export interface Code {
  label: string;
  file: string;
  text: string;
}

/** JSON with an entry a line, but lists of plain values in one. */
export function jsonText(value: unknown, indent = ""): string {
  if (Array.isArray(value)) {
    if (value.every((one) => typeof one !== "object" || one === null)) return `[${value.map((one) => JSON.stringify(one)).join(", ")}]`;
    const inner = value.map((one) => `${indent}  ${jsonText(one, `${indent}  `)}`);
    return `[\n${inner.join(",\n")}\n${indent}]`;
  }
  if (typeof value === "object" && value !== null) {
    const entries = Object.entries(value).filter(([, one]) => one !== undefined);
    if (!entries.length) return "{}";
    const inner = entries.map(([name, one]) => `${indent}  ${JSON.stringify(name)}: ${jsonText(one, `${indent}  `)}`);
    return `{\n${inner.join(",\n")}\n${indent}}`;
  }
  return JSON.stringify(value);
}

/** The request in every form that the page offers. */
export function codes(request: FitRequest): Code[] {
  const json = jsonText(request);
  const url = window.location.origin;
  const hasKey = currentKey() !== null;
  return [
    { label: "JSON", file: "request.json", text: `${json}\n` },
    { label: "curl", file: "fit.sh", text: curl(json, url, hasKey) },
    { label: "Python", file: "fit.py", text: python(json, url) },
    { label: "TypeScript", file: "fit.ts", text: typescript(json, url, hasKey) },
  ];
}

function curl(json: string, url: string, hasKey: boolean): string {
  const key = hasKey ? ` -H "Authorization: Bearer $ODEFIT_API_KEY"` : "";
  return `curl ${url}/fits -H 'Content-Type: application/json' -H 'Prefer: wait=60'${key} --data-binary @- <<'REQUEST'\n${json}\nREQUEST\n`;
}

function python(json: string, url: string): string {
  // Quotes in strings are escaped in JSON, so three of them never follow each other.
  return `import json

from odefit import Client

request = json.loads(r"""${json}""")

with Client("${url}") as client:  # the key, if one is needed, comes from ODEFIT_API_KEY
    fit = client.fit(request).wait(progress=True)
    print(fit.result.outcome)
    print(fit.result.estimates())
`;
}

function typescript(json: string, url: string, hasKey: boolean): string {
  const key = hasKey ? `, Authorization: \`Bearer \${process.env.ODEFIT_API_KEY}\`` : "";
  return `const request = ${json};

const response = await fetch("${url}/fits", {
  method: "POST",
  headers: { "Content-Type": "application/json", Prefer: "wait=60"${key} },
  body: JSON.stringify(request),
});
const fit = await response.json();
if (!response.ok) throw new Error(fit.detail);
console.log(fit.status, fit.result?.outcome, fit.result?.parameters);
`;
}
