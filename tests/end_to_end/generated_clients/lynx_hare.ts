// Fits the lynx-hare record with types made from openapi.json: node lynx_hare.js URL REQUEST
import { readFileSync } from "node:fs";
import createClient from "openapi-fetch";
import type { components, paths } from "./api.js";

type FitProblem = components["schemas"]["FitProblem"];

const [url, file] = process.argv.slice(2);
if (url === undefined || file === undefined) throw new Error("usage: node lynx_hare.js URL REQUEST");
const client = createClient<paths>({ baseUrl: url });

const request = JSON.parse(readFileSync(file, "utf8")) as FitProblem;
const submitted = await client.POST("/fits", { body: request, params: { header: { Prefer: "wait=60" } } });
if (submitted.error !== undefined) throw new Error(submitted.error.detail);
if (!("id" in submitted.data)) throw new Error("only validated");
const read = await client.GET("/fits/{fit_id}", { params: { path: { fit_id: submitted.data.id } } });
const alpha: number | undefined = read.data?.result?.parameters?.["alpha"]?.value;

// A request written by hand, without any field that has a default.
const decay: FitProblem = {
  system: { states: ["c"], parameters: ["k"], equations: { c: "-k*c" } },
  data: { times: [0, 1, 2], values: { c: [1, 0.5, null] } },
  parameters: { k: 9 },
  initial_state: { c: { guess: 1, lower: 2 } },
};
const refused = await client.POST("/fits", { body: decay });
console.log(
  JSON.stringify({
    status: read.data?.status,
    outcome: read.data?.result?.outcome?.code,
    alpha,
    pointers: refused.error?.errors?.map((error) => error.pointer),
  }),
);
