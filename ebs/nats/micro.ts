/**
 * The service as others find it: `$SRV.PING`, `INFO` and `STATS`, as all micro-services of NATS answer
 * them (architecture decision 32 of NATS).
 *
 * @module
 */

/** The name of the service. */
export const SERVICE_NAME = "ublk-ebs";
/** The verbs, of all services, of those of a name, and of one. */
const VERBS = ["PING", "INFO", "STATS"] as const;

/** A verb. */
export type Verb = typeof VERBS[number];

/** A subject that is served, and how often. */
export interface Endpoint {
  readonly name: string;
  readonly subject: string;
  readonly queue: string;
  readonly does: string;
  requests: number;
  errors: number;
  lastError: string;
  /** In milliseconds. */
  processedMs: number;
}

/** What is told of a service. */
export interface Told {
  /** Another one for each process. */
  readonly id: string;
  /** The version of this package. */
  readonly version: string;
  /** When it began, in milliseconds since 1970. */
  readonly started: number;
  /** What else is told: the node. */
  readonly metadata: Readonly<Record<string, string>>;
  readonly endpoints: readonly Endpoint[];
}

/** An endpoint that has served nothing yet. */
export function endpointOf(subject: string, queue: string, does: string): Endpoint {
  // A name has no dots, and neither wildcards.
  const name = subject.replaceAll(".*", "").replaceAll(/[^A-Za-z0-9_-]/g, "-");
  return { name, subject, queue, does, requests: 0, errors: 0, lastError: "", processedMs: 0 };
}

/** The subjects at which a verb is asked. */
export function verbSubjects(verb: Verb, id: string): string[] {
  return [`$SRV.${verb}`, `$SRV.${verb}.${SERVICE_NAME}`, `$SRV.${verb}.${SERVICE_NAME}.${id}`];
}

/** All verbs, and what is answered. */
export const ANSWERS: Readonly<Record<Verb, (told: Told) => object>> = {
  PING: (told) => ({ type: "io.nats.micro.v1.ping_response", ...identityOf(told) }),
  INFO: (told) => ({
    ...{ type: "io.nats.micro.v1.info_response", ...identityOf(told) },
    description: "volumes on the nodes of a cluster",
    endpoints: told.endpoints.map(({ name, subject, queue, does }) => ({
      ...{ name, subject, queue_group: queue, metadata: { does } },
    })),
  }),
  STATS: (told) => ({
    ...{ type: "io.nats.micro.v1.stats_response", ...identityOf(told) },
    started: new Date(told.started).toISOString(),
    endpoints: told.endpoints.map((one) => ({
      ...{ name: one.name, subject: one.subject, queue_group: one.queue },
      ...{ num_requests: one.requests, num_errors: one.errors, last_error: one.lastError },
      processing_time: nanoseconds(one.processedMs),
      average_processing_time: nanoseconds(one.processedMs / Math.max(1, one.requests)),
    })),
  }),
};

const identityOf = ({ id, version, metadata }: Told) => ({
  ...{ name: SERVICE_NAME, id, version, metadata },
});

const nanoseconds = (ms: number) => Math.round(ms * 1e6);
