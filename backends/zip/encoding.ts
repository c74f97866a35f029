/**
 * The encoding of names: UTF-8 if the archive says so, else the user's choice, else UTF-8 if the name
 * is valid UTF-8, else code page 437 as in MS-DOS.
 *
 * @module
 */

import { UblkError } from "../../uapi/error.ts";

/** Code page 437, which `TextDecoder` does not support. */
const CP437 = "cp437";

/** Names that `unzip -O` accepts and `TextDecoder` does not. */
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
 * Converts the name of an encoding to the name that `TextDecoder` uses, or `cp437`.
 *
 * @throws {UblkError} `INVALID_ARGUMENT` if there is no such encoding.
 */
export function parseEncoding(name: string): string {
  const page = CODE_PAGES.get(name.toLowerCase());
  if (page !== undefined) return page;
  try {
    return new TextDecoder(name).encoding;
  } catch {
    throw new UblkError("INVALID_ARGUMENT", {
      operation: "a zip archive",
      reason: `"${name}" is not a known encoding`,
      hint: "use cp437, cp866, shift_jis, gbk, big5, euc-kr, windows-1252, …",
    });
  }
}

/** The upper half of code page 437. */
const CP437_UPPER = "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐" +
  "└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u00a0";

/** Decodes the names of an archive. */
export class NameDecoder {
  readonly #isGuessed: boolean;
  readonly #chosen: TextDecoder | undefined;
  readonly #utf8 = new TextDecoder("utf-8", { ignoreBOM: true });
  readonly #strictUtf8 = new TextDecoder("utf-8", { ignoreBOM: true, fatal: true });

  /** @param encoding The user's choice, as returned by {@linkcode parseEncoding}. */
  constructor(encoding?: string) {
    this.#isGuessed = encoding === undefined;
    if (encoding !== undefined && encoding !== CP437) {
      this.#chosen = new TextDecoder(encoding, { ignoreBOM: true });
    }
  }

  /** Decodes a name. `isUtf8` is the archive's mark. */
  decode(bytes: Uint8Array<ArrayBuffer>, isUtf8: boolean): string {
    if (isUtf8) return this.#utf8.decode(bytes);
    if (this.#chosen !== undefined) return this.#chosen.decode(bytes);
    if (isAscii(bytes)) return this.#utf8.decode(bytes);
    if (this.#isGuessed) {
      try {
        return this.#strictUtf8.decode(bytes);
      } catch {
        // Not UTF-8.
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
