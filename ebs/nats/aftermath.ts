/**
 * Errors of sockets that the client of NATS has given up.
 *
 * @module
 */

const CODES: ReadonlySet<unknown> = new Set(["ECONNRESET", "EPIPE", "ECONNABORTED"]);
const CALLS: ReadonlySet<unknown> = new Set(["read", "write", "shutdown"]);

/**
 * Whether an uncaught error is one of those. `@nats-io/transport-node` takes all listeners away from a
 * socket before it destroys it, and in between. If it then fails, nobody listens: in Node a destroyed
 * socket does not, in Deno it may. The client knows by itself that the connection is closed.
 */
export function isSocketAftermath(thrown: unknown): boolean {
  if (!(thrown instanceof Error)) return false;
  const { code, syscall } = thrown as { code?: unknown; syscall?: unknown };
  return CODES.has(code) && CALLS.has(syscall);
}
