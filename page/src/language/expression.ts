/** Expressions of the problem language: read leniently, for names and mathematics. The service decides what is valid. */

export type Expression =
  | { kind: "number"; text: string }
  | { kind: "name"; name: string }
  | { kind: "unary"; operator: string; of: Expression }
  | { kind: "binary"; operator: string; left: Expression; right: Expression }
  | { kind: "call"; name: string; arguments: Expression[] };

export interface Token {
  kind: "number" | "name" | "operator";
  text: string;
  at: number;
}

const PATTERN = /\s*(?:(\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?)|([A-Za-z_]\w*)|(\*\*|<=|>=|==|!=|[-+*/^<>(),]))/y;

export const FUNCTIONS = new Set(
  (
    "abs exp log log2 log10 sqrt sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh erf floor sign min max where"
  ).split(" "),
);
const WORDS = new Set(["t", "pi", "and", "or", "not"]);

/** Whether a name has a meaning of its own in expressions. */
export function isReserved(name: string): boolean {
  return FUNCTIONS.has(name) || WORDS.has(name);
}

/** The tokens of a text. Raises `SyntaxError` at the first character that begins none. */
export function tokens(text: string): Token[] {
  const found: Token[] = [];
  const end = text.trimEnd().length;
  PATTERN.lastIndex = 0;
  while (PATTERN.lastIndex < end) {
    const from = PATTERN.lastIndex;
    const match = PATTERN.exec(text);
    if (!match) throw new SyntaxError(`“${text.slice(from).trim().charAt(0)}” has no meaning here`);
    const [, number, name, operator] = match;
    const kind = number ? "number" : name ? "name" : "operator";
    const written = number ?? name ?? operator ?? "";
    found.push({ kind, text: written, at: PATTERN.lastIndex - written.length });
  }
  return found;
}

/** The names that a text uses, in order, without functions, `t` and `pi`. Nothing is thrown. */
export function namesIn(text: string): string[] {
  const found = [...text.matchAll(/(?<![\w.])[A-Za-z_]\w*/g)].map((match) => match[0]);
  return [...new Set(found)].filter((name) => !isReserved(name));
}

const STRENGTH: Record<string, number> = {
  or: 1, and: 2, "<": 4, "<=": 4, ">": 4, ">=": 4, "==": 4, "!=": 4, "+": 5, "-": 5, "*": 6, "/": 6, "**": 8, "^": 8,
};
const NOT_STRENGTH = 3;
const SIGN_STRENGTH = 7;

/** Read an expression. Raises `SyntaxError`. */
export function parse(text: string): Expression {
  const list = tokens(text);
  let next = 0;

  const take = (expected?: string): Token => {
    const token = list[next++];
    if (!token) throw new SyntaxError("the expression ends too early");
    if (expected && token.text !== expected) throw new SyntaxError(`expected ${expected} before ${token.text}`);
    return token;
  };

  function primary(): Expression {
    const token = take();
    if (token.kind === "number") return { kind: "number", text: token.text };
    if (token.text === "not") return { kind: "unary", operator: "not", of: operation(NOT_STRENGTH) };
    if (token.text === "-" || token.text === "+")
      return { kind: "unary", operator: token.text, of: operation(SIGN_STRENGTH) };
    if (token.text === "(") {
      const inner = operation(0);
      take(")");
      return inner;
    }
    if (token.kind !== "name") throw new SyntaxError(`${token.text} is out of place`);
    if (list[next]?.text !== "(") return { kind: "name", name: token.text };
    take("(");
    const given: Expression[] = [];
    while (list[next]?.text !== ")") {
      given.push(operation(0));
      if (list[next]?.text !== ")") take(",");
    }
    take(")");
    return { kind: "call", name: token.text, arguments: given };
  }

  function operation(least: number): Expression {
    let left = primary();
    for (;;) {
      const operator = list[next]?.text ?? "";
      const strength = STRENGTH[operator];
      if (strength === undefined || strength < least) return left;
      next++;
      const isPower = operator === "**" || operator === "^";
      left = { kind: "binary", operator, left, right: operation(isPower ? SIGN_STRENGTH : strength + 1) };
    }
  }

  const whole = operation(0);
  if (list[next]) throw new SyntaxError(`${list[next]!.text} is out of place`);
  return whole;
}
