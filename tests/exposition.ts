/**
 * A strict parser of Prometheus's text format (version 0.0.4): input that its server would refuse is an
 * error.
 *
 * @module
 */

/** A metric with all of its samples. */
export interface Family {
  readonly type: string;
  readonly help: string;
  readonly samples: readonly Sample[];
}

/** One line with a value. */
export interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

const NAME = "[a-zA-Z_:][a-zA-Z0-9_:]*";
const LABEL = '[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\\\\n]|\\\\[\\\\"n])*"';
const SAMPLE = new RegExp(
  `^(${NAME})(?:\\{((?:${LABEL})(?:,${LABEL})*)\\})? ([-+]?(?:[0-9.]+(?:e[-+]?[0-9]+)?|Inf)|NaN)$`,
);

/** Parses a text into families, by name. */
export function parseExposition(text: string): Map<string, Family> {
  if (!text.endsWith("\n")) throw new Error("the last line has no end");
  const families = new Map<string, { type: string; help: string; samples: Sample[] }>();
  const seen = new Set<string>();
  let help: [string, string] | undefined;
  let current: string | undefined;
  for (const line of text.split("\n").filter((each) => each !== "")) {
    const comment = new RegExp(`^# (HELP|TYPE) (${NAME}) (.+)$`).exec(line);
    if (comment?.[1] === "HELP") {
      help = [comment[2], comment[3]];
    } else if (comment !== null) {
      const [, , name, type] = comment;
      if (families.has(name)) throw new Error(`${name} comes twice`);
      if (help?.[0] !== name) throw new Error(`${name} has no help`);
      if (!["counter", "gauge", "histogram"].includes(type)) throw new Error(`type ${type}`);
      families.set(name, { type, help: help[1], samples: [] });
      current = name;
    } else {
      const sample = parseSample(line);
      const key = line.slice(0, line.lastIndexOf(" "));
      if (seen.has(key)) throw new Error(`${key} comes twice`);
      seen.add(key);
      const family = families.get(current ?? "");
      const suffixes = family?.type === "histogram" ? ["_bucket", "_sum", "_count"] : [""];
      if (!suffixes.some((suffix) => sample.name === current + suffix)) {
        throw new Error(`${sample.name} stands in ${current}`);
      }
      family!.samples.push(sample);
    }
  }
  return families;
}

function parseSample(line: string): Sample {
  const match = SAMPLE.exec(line);
  if (match === null) throw new Error(`not a sample: ${line}`);
  const [, name, labels = "", value] = match;
  return {
    name,
    labels: Object.fromEntries(
      Array.from(labels.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g), ([, label, text]) => [label, text]),
    ),
    value: Number(value.replace("Inf", "Infinity")),
  };
}
