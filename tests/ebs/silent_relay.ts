/**
 * Passes on connections to a server, until it falls silent: as a host that vanishes, it then closes
 * nothing, passes on nothing, and lets nobody know.
 *
 * @module
 */

/** A relay on 127.0.0.1. */
export class SilentRelay implements AsyncDisposable {
  readonly #listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  readonly #connections = new Set<Deno.TcpConn>();
  readonly #to: Deno.ConnectOptions;
  readonly #served: Promise<void>;
  #isSilent = false;

  /** @param url `nats://HOST:PORT` of the server. */
  constructor(url: string) {
    const { hostname, port } = new URL(url);
    this.#to = { hostname, port: Number(port) };
    this.#served = this.#serve();
  }

  /** `HOST:PORT` of the relay. */
  get address(): string {
    return `127.0.0.1:${this.#listener.addr.port}`;
  }

  /** Nothing passes any more, in either direction. New connections come about and hear nothing. */
  silence(): void {
    this.#isSilent = true;
  }

  async #serve(): Promise<void> {
    for await (const client of this.#listener) {
      this.#connections.add(client);
      if (this.#isSilent) continue;
      const server = await Deno.connect(this.#to);
      this.#connections.add(server);
      void this.#pass(client, server);
      void this.#pass(server, client);
    }
  }

  async #pass(from: Deno.TcpConn, to: Deno.TcpConn): Promise<void> {
    try {
      for await (const bytes of from.readable) {
        if (this.#isSilent) continue;
        for (let at = 0; at < bytes.length;) at += await to.write(bytes.subarray(at));
      }
    } catch {
      // One of them has been closed.
    }
    if (!this.#isSilent) this.#close(to);
  }

  #close(connection: Deno.TcpConn): void {
    if (!this.#connections.delete(connection)) return;
    try {
      connection.close();
    } catch {
      // A stream that has ended has closed it.
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    await this.#served;
    for (const connection of [...this.#connections]) this.#close(connection);
  }
}
