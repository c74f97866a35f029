/**
 * Modules of backends, right and wrong, as data: URLs, for the tests of how they are loaded.
 *
 * @module
 */

/** The URL of a module with that source. It can import nothing relative. */
export function moduleUrl(source: string): string {
  return `data:application/javascript,${encodeURIComponent(source)}`;
}

/** The source of an `open` that gives a disk of `size` bytes, on which `extra` is laid. */
export function openSource(size: number, extra = ""): string {
  return `(options, context) => ({
    size: ${size}, options, context, readAt() {}, writeAt() {}, ${extra}
  })`;
}
