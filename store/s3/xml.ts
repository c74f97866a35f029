/**
 * The XML of S3's answers: flat elements, read without a parser of XML.
 *
 * @module
 */

/** The text of the first element of a name; undefined if there is none. */
export function textOf(xml: string, element: string): string | undefined {
  const found = new RegExp(`<${element}>([^<]*)</${element}>`).exec(xml);
  return found === null ? undefined : unescaped(found[1]);
}

/** The contents of all elements of a name, as they are. */
export function* contentsOf(xml: string, element: string): Generator<string> {
  for (const [, inner] of xml.matchAll(new RegExp(`<${element}>(.*?)</${element}>`, "gs"))) {
    yield inner;
  }
}

const ENTITIES: Readonly<Record<string, string>> = {
  ...{ amp: "&", lt: "<", gt: ">", quot: '"', apos: "'" },
};

function unescaped(text: string): string {
  return text.replace(/&(?:#x([0-9a-f]+)|#(\d+)|(\w+));/gi, (whole, hex, decimal, name) => {
    if (name !== undefined) return ENTITIES[name] ?? whole;
    const point = hex === undefined ? Number(decimal) : Number.parseInt(hex, 16);
    return point <= 0x10ffff ? String.fromCodePoint(point) : whole;
  });
}
