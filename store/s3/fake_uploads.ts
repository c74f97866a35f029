/**
 * Uploads in parts of a {@linkcode "./fake_bucket.ts"} server.
 *
 * @module
 */

import { errorAnswer } from "./fake_faults.ts";
import { type HttpMessage, joined } from "./wire.ts";

/** The server's time, always. */
const NOW = "Mon, 30 Nov 2026 12:00:00 GMT";

/** An upload that was begun. */
interface Upload {
  readonly key: string;
  readonly initiated: string;
  readonly parts: Map<number, Uint8Array<ArrayBuffer>>;
}

/** A request about uploads. */
export interface UploadRequest {
  readonly method: string;
  readonly key: string;
  readonly query: URLSearchParams;
  readonly body: Uint8Array<ArrayBuffer>;
}

/** Uploads in parts. */
export class FakeUploads {
  /** Those that were begun and neither completed nor removed, by their ids. */
  readonly open = new Map<string, Upload>();
  #ids = 0;

  /**
   * Carries out a request.
   *
   * @param put Makes an object of all parts, if the condition holds.
   * @returns Undefined if it is about something else.
   */
  answer(
    { method, key, query, body }: UploadRequest,
    put: (bytes: Uint8Array<ArrayBuffer>) => HttpMessage,
  ): HttpMessage | undefined {
    if (method === "GET" && query.has("uploads")) return this.#list(query.get("prefix") ?? "");
    if (method === "POST" && query.has("uploads")) return this.begin(key);
    const id = query.get("uploadId");
    if (id === null) return undefined;
    const upload = this.open.get(id);
    if (upload === undefined || upload.key !== key) return errorAnswer("no upload")!;
    if (method === "PUT") {
      upload.parts.set(Number(query.get("partNumber")), body);
      return answer("", { etag: `"part-${query.get("partNumber")}"` });
    }
    if (method === "DELETE") {
      this.open.delete(id);
      return { ...answer(""), start: "HTTP/1.1 204 X" };
    }
    const told = new TextDecoder().decode(body);
    const numbers = [...told.matchAll(/<PartNumber>(\d+)<\/PartNumber><ETag>&quot;part-\1&quot;/g)]
      .map(([, number]) => Number(number));
    const parts = numbers.map((number) => upload.parts.get(number)!);
    const made = put(joined(parts));
    if (!made.start.includes(" 200 ")) return made;
    this.open.delete(id);
    const tag = made.headers.get("etag")!.replaceAll('"', "&quot;");
    const result = "CompleteMultipartUploadResult";
    return answer(`<${result} xmlns="x"><ETag>${tag}</ETag></${result}>`);
  }

  /** Begins an upload. */
  begin(key: string, initiated = "2026-11-30T12:00:00.000Z"): HttpMessage {
    const id = `upload/${++this.#ids}`;
    this.open.set(id, { key, initiated, parts: new Map() });
    return answer(`<InitiateMultipartUploadResult><UploadId>${id}</UploadId></I>`);
  }

  #list(prefix: string): HttpMessage {
    const uploads = [...this.open].filter(([, { key }]) => key.startsWith(prefix)).map(
      ([id, { key, initiated }]) =>
        `<Upload><Key>${key}</Key><UploadId>${id}</UploadId>` +
        `<Initiated>${initiated}</Initiated></Upload>`,
    );
    const xml = `<ListMultipartUploadsResult>${uploads.join("")}</ListMultipartUploadsResult>`;
    return answer(xml, { date: NOW });
  }
}

function answer(xml: string, headers: Readonly<Record<string, string>> = {}): HttpMessage {
  const body = new TextEncoder().encode(xml);
  return { start: "HTTP/1.1 200 X", headers: new Map(Object.entries(headers)), body };
}
