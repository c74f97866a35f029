/**
 * Errors of sockets that the client of NATS has given up.
 *
 * @module
 */

const CODES: ReadonlySet<unknown> = new Set(["ECONNRESET", "EPIPE", "ECONNABORTED"]);
const CALLS: ReadonlySet<unknown> = new Set(["read", "write", "shutdown"]);

/** By which a server of TLS tells why it hangs up: it knows no certificate of ours, or a wrong one. */
const ALERT = /^received fatal alert: /;

let alert: string | undefined;

/**
 * Whether an uncaught error is one of those. `@nats-io/transport-node` takes all listeners away from a
 * socket before it destroys it, and in between. If it then fails, nobody listens: in Node a destroyed
 * socket does not, in Deno it may. The client knows by itself that the connection is closed.
 */
export function isSocketAftermath(thrown: unknown): boolean {
  if (!(thrown instanceof Error)) return false;
  const { code, syscall, message } = thrown as Error & { code?: unknown; syscall?: unknown };
  if (ALERT.test(message)) {
    alert = message;
    return true;
  }
  return CODES.has(code) && CALLS.has(syscall);
}

/** The last alert that nobody has heard: the reason of a connection that does not come about. */
export function takeAlert(): string | undefined {
  const taken = alert;
  alert = undefined;
  return taken;
}
