/**
 * Memory shared with clients: a file that both sides map. Direct I/O from that memory carries no
 * data, because the driver finds its pages among the registered ones.
 *
 * @module
 */

import type { Control } from "../ctrl/control.ts";
import type { SharedBuffer } from "../queue/shared_memory.ts";
import { ENOENT, errnoName } from "../uapi/errno.ts";
import { invalidIn, UblkError } from "../uapi/error.ts";
import { fileStatus, O_RDONLY, O_RDWR } from "../uring/file.ts";
import { closeFd, openFile } from "../uring/libc.ts";
import { Mapping, pageBytes } from "../uring/mapping.ts";
import type { SharedMemoryOptions } from "./options.ts";

const invalid = invalidIn("share memory");

/** `UBLK_SHMEM_BUF_SIZE_MAX` of the driver. */
const MAX_BYTES = 2 ** 32;
/** The driver's index of a device's first buffer. We register only one. */
const INDEX = 0;

/** The mapped shared memory of one device. */
export class MappedMemory implements Disposable {
  readonly #path: string;
  readonly #readOnly: boolean;
  readonly #mapping: Mapping;

  private constructor(path: string, readOnly: boolean, mapping: Mapping) {
    this.#path = path;
    this.#readOnly = readOnly;
    this.#mapping = mapping;
  }

  /**
   * Maps a file.
   *
   * @throws {UblkError} `INVALID_ARGUMENT` if the file cannot be shared, `MEMORY_LIMIT` if its pages
   *   cannot be allocated.
   */
  static open({ path, readOnly = false }: SharedMemoryOptions): MappedMemory {
    const bytes = checkedSize(path);
    const fd = open(path, readOnly);
    try {
      const operation = `map ${path}`;
      const mapping = Mapping.ofFile(fd, 0, bytes, { writable: !readOnly, operation });
      return new MappedMemory(path, readOnly, mapping);
    } catch (error) {
      if (!(error instanceof UblkError)) throw error;
      throw error.code === "MEMORY_LIMIT"
        ? new UblkError("MEMORY_LIMIT", {
          operation: "share memory",
          reason: `${path} needs ${bytes} bytes of memory that is not there`,
          errno: error.errno,
          hint: "for hugetlbfs, raise /proc/sys/vm/nr_hugepages",
          cause: error,
        })
        : invalid(`${path} cannot be mapped: ${error.reason}`, "use a file in hugetlbfs", error);
    } finally {
      // The mapping holds the file.
      closeFd(fd);
    }
  }

  /** The memory's description for the serving threads. */
  get buffers(): SharedBuffer[] {
    return [{ index: INDEX, address: this.#mapping.address, bytes: this.#mapping.bytes }];
  }

  /**
   * Registers the memory with a live device, replacing what an earlier server registered.
   *
   * @param again Whether there was an earlier server.
   */
  async register(
    control: Control,
    id: number,
    again: boolean,
    options: { signal?: AbortSignal },
  ): Promise<void> {
    // An earlier server's pages stay registered, and the same pages cannot be registered twice.
    if (again) await unregister(control, id, options);
    const { address, bytes } = this.#mapping;
    const index = await control.regBuf(id, { address, bytes, readOnly: this.#readOnly }, options);
    if (index === INDEX) return;
    throw new UblkError("CONTROL_FAILED", {
      operation: "REG_BUF",
      device: id,
      reason: `${this.#path} became buffer ${index}, and the threads were told ${INDEX}`,
      hint: "somebody else registers memory with this device",
    });
  }

  /** Unmaps the memory. Call it only when no thread can touch it any more. */
  [Symbol.dispose](): void {
    this.#mapping[Symbol.dispose]();
  }
}

async function unregister(
  control: Control,
  id: number,
  options: { signal?: AbortSignal },
): Promise<void> {
  try {
    await control.unregBuf(id, INDEX, options);
  } catch (error) {
    // ENOENT: the earlier server died before it had registered anything.
    if (!(error instanceof UblkError) || error.errno !== ENOENT) throw error;
  }
}

function checkedSize(path: string): number {
  const status = fileStatus(path);
  if (status === undefined) throw invalid(`${path} is missing`, "make it first, of the full size");
  const { kind, bytes } = status;
  if (kind !== "file") throw invalid(`${path} is a ${kind}`, "use a file in hugetlbfs");
  if (bytes === 0) throw invalid(`${path} is empty`, "give it its size first, with truncate(1)");
  if (bytes % pageBytes() !== 0) {
    throw invalid(`the ${bytes} bytes of ${path} are not whole pages`, "use a file in hugetlbfs");
  }
  if (bytes > MAX_BYTES) {
    throw invalid(`the ${bytes} bytes of ${path} are too many`, `the driver takes ${MAX_BYTES}`);
  }
  return bytes;
}

function open(path: string, readOnly: boolean): number {
  try {
    return openFile(path, readOnly ? O_RDONLY : O_RDWR);
  } catch (error) {
    if (!(error instanceof UblkError)) throw error;
    const words = error.errno === undefined ? error.reason : errnoName(error.errno);
    throw invalid(`${path} cannot be opened: ${words}`, "see its permissions", { cause: error });
  }
}
