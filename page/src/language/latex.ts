/** Expressions and systems as LaTeX, which KaTeX then sets. Only checked names reach it. */
import type { Definition } from "../api/types";
import { parse, type Expression } from "./expression";

const GREEK = new Set(
  (
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi rho sigma tau upsilon phi chi psi omega " +
    "Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega pi"
  ).split(" "),
);
const STANDARD = new Set("exp log sin cos tan sinh cosh tanh min max".split(" "));
const RELATIONS: Record<string, string> = { "<=": "\\le", ">=": "\\ge", "==": "=", "!=": "\\ne", and: "\\land", or: "\\lor" };

/** A name: Greek letters as letters, what follows an underscore or a number as an index. */
export function nameLatex(name: string): string {
  const split = /^([A-Za-z]+?)_?(\d+|(?<=_)\w+)?_?$/.exec(name);
  const [, stem = name, index] = split ?? [];
  const base = GREEK.has(stem) ? `\\${stem}` : stem.length === 1 ? stem : `\\mathrm{${escaped(stem)}}`;
  return index ? `${base}_{\\mathrm{${escaped(index)}}}` : base;
}

function escaped(text: string): string {
  return text.replace(/[^A-Za-z0-9]/g, (character) => (character === "_" ? "\\_" : ""));
}

const STRENGTH: Record<string, number> = { or: 1, and: 2, "+": 5, "-": 5, "*": 6, "/": 9, "**": 8, "^": 8 };

/** An expression. `least`: the strength below which it needs parentheses. */
export function expressionLatex(expression: Expression, least = 0): string {
  switch (expression.kind) {
    case "number":
      return numberLatex(expression.text);
    case "name":
      return nameLatex(expression.name);
    case "call":
      return callLatex(expression.name, expression.arguments);
    case "unary": {
      const inner = expressionLatex(expression.of, 6);
      const written = expression.operator === "not" ? `\\lnot ${inner}` : `${expression.operator}${inner}`;
      return least > 5 ? `\\left(${written}\\right)` : written;
    }
    case "binary":
      return binaryLatex(expression, least);
  }
}

function binaryLatex({ operator, left, right }: Extract<Expression, { kind: "binary" }>, least: number): string {
  if (operator === "/") return `\\frac{${expressionLatex(left)}}{${expressionLatex(right)}}`;
  if (operator === "**" || operator === "^") return `${powerBase(left)}^{${expressionLatex(right)}}`;
  const strength = STRENGTH[operator] ?? 4;
  // A sign in front of the first factor or term needs no parentheses.
  const a = left.kind === "unary" && left.operator !== "not" ? expressionLatex(left) : expressionLatex(left, strength);
  const b = expressionLatex(right, operator === "-" ? strength + 1 : strength);
  const sign = operator === "*" ? (/^[\d\\f]/.test(b) && /\d$/.test(a) ? "\\cdot" : "\\,") : (RELATIONS[operator] ?? operator);
  const written = `${a} ${sign} ${b}`;
  return strength < least ? `\\left(${written}\\right)` : written;
}

function powerBase(base: Expression): string {
  const isPlain = base.kind === "name" || (base.kind === "number" && !base.text.includes("e"));
  return isPlain ? `{${expressionLatex(base)}}` : `\\left(${expressionLatex(base)}\\right)`;
}

function callLatex(name: string, given: Expression[]): string {
  const written = given.map((one) => expressionLatex(one));
  const [a = "", b = "", c = ""] = written;
  if (name === "sqrt") return `\\sqrt{${a}}`;
  if (name === "abs") return `\\left|${a}\\right|`;
  if (name === "floor") return `\\left\\lfloor ${a}\\right\\rfloor`;
  if (name === "where") return `\\begin{cases}${b} & \\text{if } ${a}\\\\ ${c} & \\text{otherwise}\\end{cases}`;
  if (name === "log2" || name === "log10") return `\\log_{${name.slice(3)}}\\left(${a}\\right)`;
  const head = name === "log" ? "\\ln" : STANDARD.has(name) ? `\\${name}` : `\\operatorname{${escaped(name)}}`;
  return `${head}\\left(${written.join(", ")}\\right)`;
}

function numberLatex(text: string): string {
  const [mantissa = "", power] = text.toLowerCase().split("e");
  return power === undefined ? mantissa : `${mantissa}\\cdot 10^{${Number(power)}}`;
}

/** The lines of a system; one that cannot be read yet is left out. */
export function systemLatex(definition: Definition): string[] {
  const line = (left: string, text: string, sign = "=") => {
    try {
      return [`${left} &${sign} ${expressionLatex(parse(text))}`];
    } catch {
      return [];
    }
  };
  const rate = (state: string) => `\\frac{\\mathrm{d}${nameLatex(state)}}{\\mathrm{d}t}`;
  const observables = Object.entries(definition.observables ?? {}).filter(([name, text]) => name !== text.trim());
  return [
    ...Object.entries(definition.equations).flatMap(([state, text]) => line(rate(state), text)),
    ...Object.entries(definition.definitions ?? {}).flatMap(([name, text]) => line(nameLatex(name), text)),
    ...Object.entries(definition.networks ?? {}).map(([name, network]) => networkLatex(name, network)),
    ...observables.flatMap(([name, text]) => line(nameLatex(name), text)),
    ...Object.entries(definition.derived ?? {}).flatMap(([name, text]) => line(nameLatex(name), text)),
  ];
}

function networkLatex(name: string, network: { inputs: string[]; outputs: string[] }): string {
  const inputs = network.inputs.map((text) => expressionLatex(parse(text))).join(", ");
  const outputs = network.outputs.map(nameLatex).join(", ");
  return `\\left(${outputs}\\right) &= \\operatorname{${escaped(name)}}_{\\theta}\\left(${inputs}\\right)`;
}
