/**
 * Buckets in Ceph, and stores in them.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { S3Client } from "../../store/s3/client.ts";
import { placeOf } from "../../store/s3/place.ts";
import { S3Store, type S3StoreOptions } from "../../store/s3/store.ts";
import { type Ceph, CEPH_KEYS } from "../../vm/ceph.ts";

/** The keys, for another process. */
export const KEYS_IN_ENVIRONMENT = {
  AWS_ACCESS_KEY_ID: CEPH_KEYS.accessKeyId,
  AWS_SECRET_ACCESS_KEY: CEPH_KEYS.secretAccessKey,
} as const;

/** A bucket. */
export class Bucket {
  readonly #name: string;
  readonly #endpoint: string;

  private constructor(name: string, endpoint: string) {
    this.#name = name;
    this.#endpoint = endpoint;
  }

  /** Makes a bucket. */
  static async make(ceph: Ceph, name: string): Promise<Bucket> {
    const bucket = new Bucket(name, ceph.endpoint);
    using client = bucket.client();
    const { status } = await client.send({ method: "PUT", key: "", where: "make a bucket" });
    assertEquals(status, 200);
    return bucket;
  }

  /** A client for single requests. */
  client(): S3Client {
    return new S3Client({
      place: placeOf(this.url(), () => undefined),
      credentials: () => Promise.resolve(CEPH_KEYS),
    });
  }

  /** The URL of a store in it, perhaps through a proxy. */
  url(endpoint: string = this.#endpoint): string {
    return `s3://${this.#name}/volumes?endpoint=${endpoint}`;
  }

  /** Opens a store in it, perhaps through a proxy. */
  store(endpoint: string = this.#endpoint, options: S3StoreOptions = {}): S3Store {
    return S3Store.open(this.url(endpoint), { credentials: CEPH_KEYS, ...options });
  }
}
