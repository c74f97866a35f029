/**
 * A dialect is a table: for each subject, the schema of its requests and what is done with them.
 *
 * @module
 */

import type { Meant } from "../detachment.ts";
import type { EbsError } from "../error.ts";
import type { EbsService } from "../service.ts";
import { checked, type v } from "../schema.ts";

/** What a row may use. */
export interface Context {
  /** The service of this node. */
  readonly service: EbsService;
  /** The zone of volumes that are created without one. */
  readonly zone: string | undefined;
  /** The access that a mount has if none is asked for. */
  readonly access: "unix" | "tcp";
  /** Most bytes of an answer. */
  readonly mostBytes: number;
  /** Publishes a message to whoever listens. */
  publish(subject: string, body: unknown): void;
  /** Lets work go on after the answer. It must not reject. */
  later(work: Promise<void>): void;
}

/** Where a request is answered, if not by whoever gets it. */
export interface Destination {
  /** By the node that has this volume mounted, if there is one. */
  readonly volume?: string;
  /** By this node. */
  readonly node?: string;
}

/** One subject of a dialect. */
export interface Row {
  /**
   * The subject. `{node}` is this node's name; `{volume}` is any, and the request must name the same.
   */
  readonly subject: string;
  /** What it is for, in a few words. */
  readonly does: string;
  /** Reads a request. @throws {EbsError} `invalid_argument`, `unsupported_version` */
  read(body: object, subject: string): unknown;
  /** Where a request is answered. @throws {EbsError} */
  destination(request: unknown, service: EbsService): Destination | Promise<Destination>;
  /** Carries a request out, and returns the body of the answer. @throws {EbsError} */
  run(context: Context, request: unknown): Promise<object>;
  /** The body of the answer to a request that failed. @param body As it came, if it was an object. */
  refuse(error: EbsError, body: Readonly<Record<string, unknown>>): object;
  /** The subject to which answers are published too. */
  readonly announces?: string;
}

/** How a row is written down. */
export interface RowOf<S extends v.GenericSchema> extends Pick<Row, "subject" | "does" | "refuse"> {
  /** The schema of requests. */
  readonly schema: S;
  /** Checks what no schema can. @throws {EbsError} */
  readonly check?: (request: v.InferOutput<S>, subject: string) => void;
  /** Where a request is answered. @default By whoever gets it */
  readonly destination?: (
    request: v.InferOutput<S>,
    service: EbsService,
  ) => Destination | Promise<Destination>;
  /** Carries a request out. */
  readonly run: (context: Context, request: v.InferOutput<S>) => Promise<object>;
  readonly announces?: string;
}

/** Makes a row of what is written down. */
export function row<S extends v.GenericSchema>(written: RowOf<S>): Row {
  const { schema, check, destination, run, ...rest } = written;
  return {
    ...rest,
    read(body, subject) {
      const request = checked(schema, body, "bad request");
      check?.(request, subject);
      return request;
    },
    destination: (request, service) => destination?.(request as v.InferOutput<S>, service) ?? {},
    run: (context, request) => run(context, request as v.InferOutput<S>),
  };
}

/** Of the bytes of an answer, those that are left for what is beside a page. */
const BESIDE_BYTES = 1024;

/**
 * As many entries of a page as an answer has room for, and the token of the next page. It has one at
 * least.
 *
 * @param entries The bodies and their ids. @param next The token behind them; empty for none.
 */
export function fitting(
  entries: readonly { readonly id: string; readonly body: object }[],
  next: string,
  mostBytes: number,
): { bodies: object[]; next: string } {
  let left = mostBytes - BESIDE_BYTES;
  const end = entries.findIndex(({ body }, at) => {
    left -= new TextEncoder().encode(JSON.stringify(body)).length + 1;
    return left < 0 && at > 0;
  });
  const bodies = (end < 0 ? entries : entries.slice(0, end)).map(({ body }) => body);
  return { bodies, next: end < 0 ? next : entries[end - 1]!.id };
}

/**
 * Where an attachment is ended: by the node that has it. One whose node is not there is dealt with by
 * whoever gets the request.
 */
export async function detachedAt(
  service: EbsService,
  volume: string,
  meant: Meant = {},
): Promise<Destination> {
  const node = (await service.attachmentOf(volume, meant))?.node ?? meant.node;
  if (node === undefined || node === service.node) return {};
  return (await service.unreachable([node])).size > 0 ? {} : { node };
}

/**
 * Where a request is answered about a volume that may still be being made: by the node that makes it.
 * Nobody else knows whether it was interrupted there, and may go on with it.
 *
 * @param otherwise Where, if no other node makes it.
 */
export async function madeAt(
  service: EbsService,
  volume: string,
  otherwise: Destination = {},
): Promise<Destination> {
  // If the record cannot be read now, the request itself fails and says so.
  const node = await service.makerOf(volume).catch(() => undefined);
  return node === undefined ? otherwise : { node };
}

/** The token of a subject that stands where a pattern has a word in braces. */
export function tokenOf(pattern: string, subject: string, word: string): string | undefined {
  const at = pattern.split(".").indexOf(`{${word}}`);
  return at < 0 ? undefined : subject.split(".")[at];
}
