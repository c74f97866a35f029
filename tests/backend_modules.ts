/**
 * Valid and invalid backend modules as data: URLs, for tests of loading.
 *
 * @module
 */

/** The URL of a module with this source. It cannot use relative imports. */
export function moduleUrl(source: string): string {
  return `data:application/javascript,${encodeURIComponent(source)}`;
}

/** The source of an `open` that returns a disk of `size` bytes, with the members of `extra` added. */
export function openSource(size: number, extra = ""): string {
  return `(options, context) => ({
    size: ${size}, options, context, readAt() {}, writeAt() {}, ${extra}
  })`;
}
