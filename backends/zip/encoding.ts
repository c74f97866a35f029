/**
 * The encodings of names: UTF-8 where the archive says so, else one that its user names, else UTF-8
 * where a name is UTF-8, else code page 437, as MS-DOS had it.
 *
 * @module
 */

import { UblkError } from "../../uapi/error.ts";

/** Code page 437: the library knows it, `TextDecoder` does not. */
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
 * An encoding by the name that the library and `TextDecoder` have for it.
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

/** Decodes names, many of them: a decoder is made once for each encoding. */
export class NameDecoder {
  readonly #decoders = new Map<string, TextDecoder>();
  readonly #ascii = new TextDecoder("utf-8", { ignoreBOM: true });

  /** The name, or undefined where that is the library's to do. */
  decode(bytes: Uint8Array<ArrayBuffer>, encoding: string): string | undefined {
    if (encoding === CP437) return isAscii(bytes) ? this.#ascii.decode(bytes) : undefined;
    let decoder = this.#decoders.get(encoding);
    if (decoder === undefined) {
      decoder = new TextDecoder(encoding, { ignoreBOM: true });
      this.#decoders.set(encoding, decoder);
    }
    return decoder.decode(bytes);
  }
}

function isAscii(bytes: Uint8Array): boolean {
  for (let at = 0; at < bytes.length; at++) if (bytes[at] >= 0x80) return false;
  return true;
}
