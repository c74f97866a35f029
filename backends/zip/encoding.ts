/**
 * The encodings of names: UTF-8 where the archive says so, else one that its user names, else UTF-8
 * where a name is UTF-8, else code page 437, as MS-DOS had it.
 *
 * @module
 */

import { UblkError } from "../../uapi/error.ts";

/** Code page 437, which `TextDecoder` does not know. */
const CP437 = "cp437";

/** Names that `unzip -O` takes, and `TextDecoder` does not. */
const CODE_PAGES: ReadonlyMap<string, string> = new Map([
  ["437", CP437],
  ["ibm437", CP437],
  [CP437, CP437],
  ["cp932", "shift_jis"],
  ["cp936", "gbk"],
  ["cp949", "euc-kr"],
  ["cp950", "big5"],
]);

/**
 * An encoding by the name that `TextDecoder` has for it, or `cp437`.
 *
 * @throws {UblkError} `INVALID_ARGUMENT` where there is no such encoding.
 */
export function encodingCalled(name: string): string {
  const page = CODE_PAGES.get(name.toLowerCase());
  if (page !== undefined) return page;
  try {
    return new TextDecoder(name).encoding;
  } catch {
    throw new UblkError("INVALID_ARGUMENT", {
      operation: "a zip archive",
      reason: `"${name}" is no known encoding`,
      hint: "give cp437, cp866, shift_jis, gbk, big5, euc-kr, windows-1252, …",
    });
  }
}

/** The upper half of code page 437. */
const CP437_UPPER = "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐" +
  "└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u00a0";

/** Decodes the names of an archive. */
export class NameDecoder {
  readonly #isGuessed: boolean;
  readonly #given: TextDecoder | undefined;
  readonly #utf8 = new TextDecoder("utf-8", { ignoreBOM: true });
  readonly #strictUtf8 = new TextDecoder("utf-8", { ignoreBOM: true, fatal: true });

  /** For names in an encoding, as {@linkcode encodingCalled} has it, where it is given. */
  constructor(encoding?: string) {
    this.#isGuessed = encoding === undefined;
    if (encoding !== undefined && encoding !== CP437) {
      this.#given = new TextDecoder(encoding, { ignoreBOM: true });
    }
  }

  /** A name, of which the archive may say that it is UTF-8. */
  decode(bytes: Uint8Array<ArrayBuffer>, isUtf8: boolean): string {
    if (isUtf8) return this.#utf8.decode(bytes);
    if (this.#given !== undefined) return this.#given.decode(bytes);
    if (isAscii(bytes)) return this.#utf8.decode(bytes);
    if (this.#isGuessed) {
      try {
        return this.#strictUtf8.decode(bytes);
      } catch {
        // Then it is none.
      }
    }
    return Array.from(
      bytes,
      (byte) => byte < 0x80 ? String.fromCharCode(byte) : CP437_UPPER[byte - 0x80],
    ).join("");
  }
}

function isAscii(bytes: Uint8Array): boolean {
  for (let at = 0; at < bytes.length; at++) if (bytes[at] >= 0x80) return false;
  return true;
}
