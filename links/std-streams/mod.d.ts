type Bytes = Uint8Array<ArrayBuffer>;

/** Splits a stream of text into lines, without their ends. */
export class TextLineStream extends TransformStream<string, string> {
  constructor(options?: { allowCR?: boolean });
}
/** Splits a stream of text at a delimiter. */
export class TextDelimiterStream extends TransformStream<string, string> {
  constructor(delimiter: string, options?: { disposition?: "suffix" | "prefix" | "discard" });
}
export function mergeReadableStreams<T>(...streams: ReadableStream<T>[]): ReadableStream<T>;
export function toArrayBuffer(stream: ReadableStream<Bytes>): Promise<ArrayBuffer>;
export function toBytes(stream: ReadableStream<Bytes>): Promise<Bytes>;
export function toJson(stream: ReadableStream): Promise<unknown>;
export function toText(stream: ReadableStream): Promise<string>;
