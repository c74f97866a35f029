/**
 * A dialect is a table: for each subject, the schema of its requests and what is done with them.
 *
 * @module
 */

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
  /** Where a request is answered. */
  destination(request: unknown): Destination;
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
  readonly destination?: (request: v.InferOutput<S>) => Destination;
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
    destination: (request) => destination?.(request as v.InferOutput<S>) ?? {},
    run: (context, request) => run(context, request as v.InferOutput<S>),
  };
}

/** The token of a subject that stands where a pattern has a word in braces. */
export function tokenOf(pattern: string, subject: string, word: string): string | undefined {
  const at = pattern.split(".").indexOf(`{${word}}`);
  return at < 0 ? undefined : subject.split(".")[at];
}
