/**
 * What was written is what is read: every path, every block size, every boundary.
 *
 * @module
 */

import { assert, assertEquals, assertGreater } from "@std/assert";
import { memory, serve, type Stats } from "../../mod.ts";
import { count, counting, watched } from "../backends/counting.ts";
import { FIO, sh, temporaryFolder, writeRandom } from "./_disk.ts";

const MIB = 1 << 20;
const GIB = 1 << 30;
const PATHS = [
  { dataPath: "get-data", direct: true },
  { dataPath: "copy", direct: false },
];

for (const { dataPath, direct } of PATHS) {
  for (const queues of [1, 4]) {
    Deno.test(`serve() + ${dataPath}, ${queues} queues + the whole disk is read back by checksum`, async () => {
      const size = 16 * MIB;
      await using folder = await temporaryFolder();
      const data = `${folder.path}/data`;
      await writeRandom(data, size);
      await using device = await serve({ backend: memory(size, { direct }), queues });
      const { queues: granted, dataPath: used } = device.info();
      assertEquals({ granted, used }, { granted: queues, used: dataPath });
      // A quarter from each CPU, so that each queue gets its share.
      const sums = await sh(
        `
        for cpu in 0 1 2 3; do
          at=$((cpu * 8))
          taskset -c $cpu dd if=$data of=$disk bs=512K count=8 skip=$at seek=$at \
            oflag=direct conv=notrunc status=none & pids="\${pids:-} $!"
        done
        for pid in $pids; do wait $pid; done
        sha256sum < $data
        dd if=$disk bs=1M iflag=direct status=none | sha256sum
        `,
        { disk: device.path, data },
      );
      const [written, read] = sums.split("\n");
      assertEquals(read, written);
      const stats = device.stats();
      assertEquals(stats.total.bytesWritten, size);
      assertEquals(stats.total.errors, 0);
      for (const queue of stats.queues) assertEquals(queue.bytesWritten, size / queues);
    });

    Deno.test(`serve() + ${dataPath}, ${queues} queues + 4 jobs, 512 B to 1 MiB + fio verifies crc32c`, async () => {
      const backend = memory("32MiB", { direct });
      await using device = await serve({ backend, queues, maxIoBytes: MIB });
      await sh(
        `${FIO} --filename=$disk --rw=randwrite --bsrange=512-1M --blockalign=512 --iodepth=8 \
          --numjobs=4 --offset_increment=8M --size=8M --verify=crc32c --verify_fatal=1`,
        { disk: device.path },
      );
      // All four on the same blocks, whose contents follow from their offset.
      await sh(
        `${FIO} --filename=$disk --rw=randwrite --bs=4K --iodepth=8 --numjobs=4 --size=2M \
          --verify=pattern --verify_pattern=%o --verify_fatal=1`,
        { disk: device.path },
      );
      const { total } = device.stats();
      assertGreater(total.bytesWritten, 32 * MIB);
      assertEquals(total.errors, 0);
    });
  }

  for (const blockSize of [512, 1024, 2048, 4096]) {
    Deno.test(`serve() + ${dataPath}, blocks of ${blockSize} + single blocks are read back, less is refused`, async () => {
      await using device = await serve({ backend: memory("8MiB", { direct, blockSize }) });
      const refused = await sh(
        `
        test $(blockdev --getss $disk) = ${blockSize}
        test $(blockdev --getsize64 $disk) = ${8 * MIB}
        ${FIO} --filename=$disk --rw=randwrite --bs=${blockSize} --iodepth=16 --number_ios=300 \
          --size=8M --verify=crc32c --verify_fatal=1 > /dev/null
        ! dd if=/dev/zero of=$disk bs=${blockSize / 2} count=1 oflag=direct 2>&1
        `,
        { disk: device.path },
      );
      assert(refused.includes("Invalid argument"), refused);
      assertEquals(device.stats().total.errors, 0);
    });
  }

  Deno.test(`serve() + ${dataPath} + odd sizes and offsets across every boundary are read back`, async () => {
    // Its last page is not whole.
    const size = 8 * MIB + 1536;
    await using folder = await temporaryFolder();
    const [data, shadow] = [`${folder.path}/data`, `${folder.path}/shadow`];
    await writeRandom(data, 16 * MIB);
    await using device = await serve({ backend: memory(size, { direct }), maxIoBytes: MIB });
    const pieces = oddPieces(size);
    await sh(
      `
      truncate -s ${size} $shadow
      while read offset bytes skip; do
        for out in "$disk oflag=seek_bytes,direct" "$shadow oflag=seek_bytes"; do
          dd if=$data of=$out iflag=skip_bytes,fullblock conv=notrunc status=none \
            bs=$bytes count=1 skip=$skip seek=$offset
        done
      done <<< "$pieces"
      cmp <(dd if=$disk bs=1M iflag=direct status=none) $shadow
      while read offset bytes skip; do
        cmp -n $bytes $shadow -i $offset:0 \
          <(dd if=$disk iflag=skip_bytes,direct bs=$bytes count=1 skip=$offset status=none)
      done <<< "$pieces"
      `,
      {
        disk: device.path,
        data,
        shadow,
        pieces: pieces.map((piece) => piece.join(" ")).join("\n"),
      },
    );
    assertEquals(device.stats().total.errors, 0);
  });
}

/** Offset, length, and where in the random data to take it from. */
function oddPieces(size: number): [offset: number, bytes: number, skip: number][] {
  const pieces: [number, number][] = [
    [0, 512], // The first sector.
    [size - 512, 512], // The last one, in a page of its own.
    [size - 2048, 2048],
    [4096 - 512, 1024], // Across pages.
    [4096 - 1536, 4096 + 3072],
    [512, MIB - 512], // Up to the largest request, not at a page's begin.
    [MIB - 512, 1024],
    [MIB - 1536, MIB], // The largest request, across a multiple of itself.
    [2 * MIB + 512, MIB],
    [3 * MIB - 512, MIB + 1024], // Larger than the largest.
    [4 * MIB + 2560, 3 * MIB + 512],
    [size - MIB, MIB],
  ];
  for (let i = 1; i <= 12; i++) {
    const bytes = 512 * (1 + (i * 397) % 2048);
    pieces.push([512 * Math.floor((size - bytes) / 512 * (i * 0.618 % 1)), bytes]);
  }
  return pieces.map(([offset, bytes], index) => [offset, bytes, index * 131_071]);
}

Deno.test("memory() + copy + requests across the boundary at 1 GiB are read back, zeroed and trimmed", async () => {
  await using folder = await temporaryFolder();
  const data = `${folder.path}/data`;
  await writeRandom(data, 2 * MIB + 1024);
  const backend = memory(GIB + 16 * MIB + 512, { direct: false });
  await using device = await serve({ backend, maxIoBytes: MIB });
  await sh(
    `
    write() { dd if=$data of=$disk bs=$2 count=1 seek=$1 oflag=seek_bytes,direct status=none; }
    read_() { dd if=$disk bs=$2 count=1 skip=$1 iflag=skip_bytes,direct status=none; }
    same() { cmp -n $2 $data <(read_ $1 $2); }
    edge=${GIB}
    # What must never land here belongs behind the boundary.
    write 0 65536
    for bytes in 1024 8192 1048576 2098176; do
      at=$((edge - bytes / 2 / 512 * 512)); write $at $bytes; same $at $bytes
    done
    at=$((edge - 512)); write $at 1024; same $at 1024
    # The last sector of the last window.
    write $((edge + ${16 * MIB})) 512; same $((edge + ${16 * MIB})) 512
    # Zeroes over the boundary, and their neighbours untouched.
    write $((edge - 8192)) 16384
    xfs_io -d -c "fzero $((edge - 1536)) 5120" $disk
    cmp -n 5120 /dev/zero <(read_ $((edge - 1536)) 5120)
    same $((edge - 8192)) 6656
    cmp -n 4608 $data -i 11776:0 <(read_ $((edge + 3584)) 4608)
    blkdiscard -o $((edge - 4096)) -l 8192 $disk
    cmp -n 8192 /dev/zero <(read_ $((edge - 4096)) 8192)
    same $((edge - 8192)) 4096
    same 0 65536
    `,
    { disk: device.path, data },
  );
  assertEquals(device.stats().total.errors, 0);
});

for (const sharing of ["single", "per-queue"] as const) {
  Deno.test(`serve() + ${sharing} backend, 4 queues + what one CPU wrote another reads and flushes`, async () => {
    const disk = watched(4 * MIB);
    await using device = await serve({ backend: counting(disk, sharing), queues: 4 });
    assertEquals(device.info().queues, 4);
    assertEquals(count(disk, "opens"), sharing === "single" ? 1 : 4);
    await sh(
      `
      head -c 256K /dev/urandom > $data
      taskset -c 0 dd if=$data of=$disk bs=4K oflag=direct conv=notrunc status=none
      taskset -c 3 dd if=$disk bs=4K count=64 iflag=direct status=none | cmp - $data
      taskset -c 3 xfs_io -c fsync $disk
      rm $data
      `,
      { disk: device.path, data: await Deno.makeTempFile() },
    );
    const { queues } = device.stats();
    const busy = (queue: Stats) => queue.writes > 0;
    const writer = queues.findIndex(busy);
    const reader = queues.findIndex((queue) => queue.reads >= 64 && queue.flushes >= 1);
    assertEquals(queues[writer].writes, 64);
    assertEquals(queues.filter(busy).length, 1);
    assert(reader >= 0 && reader !== writer, `written on queue ${writer}, read on ${reader}`);
    // One flush, wherever it came in, covers what every queue wrote.
    assertEquals(count(disk, "writesAtFlush"), 64);
  });
}
