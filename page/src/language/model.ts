/**
 * Systems as lines of text, for people:
 *
 *     prey' = alpha*prey - beta*prey*predator      an equation
 *     N = 763                                      a constant
 *     infections = beta*S*I/N                      a definition
 *     S(0) = N - I0                                an initial state
 *     observe cases = infections                   what is measured; `observe I` is a state itself
 *     derive R0 = beta/gamma                       reported with the result
 *     input feed                                   a known function of time
 *     event bounce: when h < 0 and v < 0: h = 0, v = -e*v
 *     network law(prey, predator) -> eaten, born [8] tanh
 *     parameters a, b                              their order; names used nowhere else
 *
 * Every other name that is used is a parameter.
 */
import type { Definition, Entry } from "../api/types";
import { isReserved, namesIn } from "./expression";

export interface Place {
  from: number;
  to: number;
}

export interface LocalMistake extends Place {
  detail: string;
}

export interface Model {
  definition: Definition;
  initial: Record<string, Entry>;
  /** Where the value that a pointer names stands in the text. */
  places: Map<string, Place>;
  mistakes: LocalMistake[];
}

const NAME = "[A-Za-z_]\\w*";
const EQUATION = new RegExp(`^(?:(${NAME})\\s*'|d\\s*(${NAME})\\s*/\\s*dt)\\s*=(.*)$`);
const INITIAL = new RegExp(`^(${NAME})\\s*\\(\\s*0\\s*\\)\\s*=(.*)$`);
const ASSIGNMENT = new RegExp(`^(${NAME})\\s*=(?!=)(.*)$`);
const OBSERVE = new RegExp(`^observe\\s+(${NAME})\\s*=(.*)$`);
const DERIVE = new RegExp(`^derive\\s+(${NAME})\\s*=(.*)$`);
const LIST = new RegExp(`^(observe|input|inputs|parameter|parameters)\\s+(${NAME}(?:\\s*,\\s*${NAME})*)$`);
const EVENT = new RegExp(`^event\\s+(${NAME})\\s*:\\s*(.*?)\\s*:(.*)$`);
const ACTION = new RegExp(`^(${NAME})\\s*(\\+?=)(.*)$`);
const NETWORK = new RegExp(
  `^network\\s+(${NAME})\\s*\\((.*)\\)\\s*->\\s*(${NAME}(?:\\s*,\\s*${NAME})*)\\s*(\\[[\\d\\s,]*\\])?\\s*(tanh|softplus|relu)?$`,
);
const NUMBER = /^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i;

/** Read a text. Lines that cannot be read are reported and left out. */
export function parseModel(text: string): Model {
  const reader = new Reader();
  let at = 0;
  for (const line of text.split("\n")) {
    reader.read(line, at);
    at += line.length + 1;
  }
  return reader.model();
}

class Reader {
  private readonly equations: Record<string, string> = {};
  private readonly constants: Record<string, number> = {};
  private readonly definitions: Record<string, string> = {};
  private readonly observables: Record<string, string> = {};
  private readonly derived: Record<string, string> = {};
  private readonly inputs: string[] = [];
  private readonly listed: string[] = [];
  private readonly events: NonNullable<Definition["events"]> = [];
  private readonly networks: NonNullable<Definition["networks"]> = {};
  private readonly initial: Record<string, Entry> = {};
  private readonly places = new Map<string, Place>();
  private readonly mistakes: LocalMistake[] = [];
  private readonly used: string[] = [];

  read(whole: string, start: number): void {
    const line = whole.replace(/#.*$/, "").trimEnd();
    const from = start + (line.length - line.trimStart().length);
    const content = line.trim();
    if (!content) return;
    const place = { from, to: start + line.length };
    if (!this.readLine(content, place))
      this.mistakes.push({ ...place, detail: "This line is none of: an equation x' = …, a definition a = …, observe y = …" });
  }

  private readLine(content: string, place: Place): boolean {
    let match: RegExpExecArray | null;
    if ((match = EQUATION.exec(content))) this.expression("equations", this.equations, (match[1] ?? match[2])!, match[3]!, place);
    else if ((match = INITIAL.exec(content))) this.initialState(match[1]!, match[2]!.trim(), place);
    else if ((match = OBSERVE.exec(content))) this.expression("observables", this.observables, match[1]!, match[2]!, place);
    else if ((match = DERIVE.exec(content))) this.expression("derived", this.derived, match[1]!, match[2]!, place);
    else if ((match = NETWORK.exec(content))) this.network(match, place);
    else if ((match = EVENT.exec(content))) return this.event(match, place);
    else if ((match = LIST.exec(content))) this.list(match[1]!, match[2]!, place);
    else if ((match = ASSIGNMENT.exec(content))) this.assignment(match[1]!, match[2]!.trim(), place);
    else return false;
    return true;
  }

  private expression(field: string, into: Record<string, string>, name: string, text: string, place: Place): void {
    if (name in into) this.mistakes.push({ ...place, detail: `${name} stands here a second time` });
    into[name] = text.trim();
    this.used.push(...namesIn(text));
    this.places.set(`/system/${field}/${name}`, { from: place.to - text.trimStart().length, to: place.to });
  }

  private assignment(name: string, text: string, place: Place): void {
    if (!NUMBER.test(text)) return this.expression("definitions", this.definitions, name, text, place);
    this.constants[name] = Number(text);
    this.places.set(`/system/constants/${name}`, place);
  }

  private initialState(name: string, text: string, place: Place): void {
    this.initial[name] = NUMBER.test(text) ? Number(text) : text;
    this.used.push(...namesIn(text));
    this.places.set(`/initial_state/${name}`, place);
  }

  private list(kind: string, text: string, place: Place): void {
    const names = text.split(",").map((name) => name.trim());
    if (kind === "observe") for (const name of names) this.expression("observables", this.observables, name, name, place);
    else if (kind.startsWith("input")) this.inputs.push(...names);
    else this.listed.push(...names);
    this.places.set(kind.startsWith("input") ? "/system/inputs" : "/system/parameters", place);
  }

  private event(match: RegExpExecArray, place: Place): boolean {
    const [, name = "", when = "", actions = ""] = match;
    const condition = when.replace(/^when\s+/, "");
    const event: NonNullable<Definition["events"]>[number] = { name, when: condition };
    const pointer = `/system/events/${this.events.length}`;
    for (const words of splitArguments(actions)) {
      if (words === "stop") event.stop = true;
      else if (words === "at start") event.at_start = true;
      else if (/^most \d+$/.test(words)) event.most = Number(words.slice(5));
      else {
        const [, state = "", sign = "", value = ""] = ACTION.exec(words) ?? [];
        if (!state) return false;
        const field = sign === "=" ? "set" : "add";
        event[field] = { ...event[field], [state]: NUMBER.test(value.trim()) ? Number(value) : value.trim() };
        this.used.push(...namesIn(value));
        this.places.set(`${pointer}/${field}/${state}`, place);
      }
    }
    this.used.push(...namesIn(condition));
    this.places.set(`${pointer}/when`, place);
    this.places.set(pointer, place);
    this.events.push(event);
    return true;
  }

  private network(match: RegExpExecArray, place: Place): void {
    const [, name = "", inputs = "", outputs = "", hidden, activation] = match;
    this.networks[name] = {
      inputs: splitArguments(inputs),
      outputs: outputs.split(",").map((one) => one.trim()),
      ...(hidden ? { hidden: JSON.parse(hidden) as number[] } : {}),
      ...(activation ? { activation: activation as "tanh" } : {}),
    };
    this.used.push(...namesIn(inputs));
    this.places.set(`/system/networks/${name}`, place);
  }

  model(): Model {
    const states = Object.keys(this.equations);
    const outputs = Object.values(this.networks).flatMap((network) => network.outputs);
    const known = new Set([
      ...states, ...Object.keys(this.constants), ...Object.keys(this.definitions), ...Object.keys(this.observables),
      ...this.inputs, ...outputs,
    ]);
    const free = this.used.filter((name) => !known.has(name) && !isReserved(name));
    const filled = <T extends object>(name: string, value: T) => (Object.keys(value).length ? { [name]: value } : {});
    const definition = {
      states,
      parameters: [...new Set([...this.listed, ...free])],
      equations: this.equations,
      ...filled("constants", this.constants),
      ...filled("inputs", this.inputs),
      ...filled("definitions", this.definitions),
      ...filled("observables", this.observables),
      ...filled("derived", this.derived),
      ...filled("events", this.events),
      ...filled("networks", this.networks),
    } as Definition;
    return { definition, initial: this.initial, places: this.places, mistakes: this.mistakes };
  }
}

function splitArguments(text: string): string[] {
  const parts: string[] = [];
  let depth = 0;
  let current = "";
  for (const character of text) {
    depth += character === "(" ? 1 : character === ")" ? -1 : 0;
    if (character === "," && depth === 0) {
      parts.push(current.trim());
      current = "";
    } else current += character;
  }
  return [...parts, current.trim()].filter(Boolean);
}

/** A system as text, from which `parseModel` makes the same system again. */
export function modelText(definition: Definition, initial: Record<string, Entry> = {}): string {
  const events = definition.events ?? [];
  const lines = [
    ...Object.entries(definition.equations).map(([name, text]) => `${name}' = ${text}`),
    ...Object.entries(definition.constants ?? {}).map(([name, value]) => `${name} = ${value}`),
    ...Object.entries(definition.definitions ?? {}).map(([name, text]) => `${name} = ${text}`),
    ...(definition.inputs?.length ? [`input ${definition.inputs.join(", ")}`] : []),
    ...Object.entries(definition.networks ?? {}).map(([name, network]) => networkText(name, network)),
    ...events.map((event) => eventText(event)),
    ...Object.entries(initial).flatMap(([name, entry]) => (typeof entry === "string" ? [`${name}(0) = ${entry}`] : [])),
    ...observableTexts(definition),
    ...Object.entries(definition.derived ?? {}).map(([name, text]) => `derive ${name} = ${text}`),
  ];
  const made = parseModel(lines.join("\n")).definition.parameters ?? [];
  const wanted = definition.parameters ?? [];
  if (made.join() !== wanted.join() && wanted.length) lines.push(`parameters ${wanted.join(", ")}`);
  return lines.join("\n");
}

function observableTexts(definition: Definition): string[] {
  const observables = Object.entries(definition.observables ?? {});
  const isDefault =
    observables.length === definition.states.length &&
    observables.every(([name, text], i) => name === text.trim() && name === definition.states[i]);
  if (isDefault) return [];
  return observables.map(([name, text]) => (name === text.trim() ? `observe ${name}` : `observe ${name} = ${text}`));
}

function networkText(name: string, network: NonNullable<Definition["networks"]>[string]): string {
  const hidden = network.hidden ? ` [${network.hidden.join(", ")}]` : "";
  const activation = network.activation ? ` ${network.activation}` : "";
  return `network ${name}(${network.inputs.join(", ")}) -> ${network.outputs.join(", ")}${hidden}${activation}`;
}

function eventText(event: NonNullable<Definition["events"]>[number]): string {
  const actions = [
    ...Object.entries(event.set ?? {}).map(([name, value]) => `${name} = ${value}`),
    ...Object.entries(event.add ?? {}).map(([name, value]) => `${name} += ${value}`),
    ...(event.stop ? ["stop"] : []),
    ...(event.at_start ? ["at start"] : []),
    ...(event.most === undefined ? [] : [`most ${event.most}`]),
  ];
  return `event ${event.name}: when ${event.when}: ${actions.join(", ")}`;
}
