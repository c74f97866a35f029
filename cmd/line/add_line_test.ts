import { assertEquals, assertRejects } from "@std/assert";
import type { DeviceOptions } from "../../device/options.ts";
import { UblkError } from "../../uapi/error.ts";
import { parseAdd } from "./add_line.ts";
import { targetNames } from "./targets.ts";
import { eachSeed } from "../../tests/seeds.ts";
import { Dice } from "../../uapi/dice.ts";

const parse = (line: string) => parseAdd("ublk add", line.split(" "), "/here");

/** Command lines, and the options that each sets beyond the defaults. */
const OPTIONS: readonly [string, Partial<DeviceOptions>][] = [
  // The API fills in the defaults.
  ["-t null", { queues: undefined, depth: undefined, maxIoBytes: undefined, dataPath: undefined }],
  ["-t null -q 2 --threads 1", { queues: 2, threads: 1 }],
  ["-t null -q 0 --threads 3", { queues: 0, threads: 3 }],
  ["-t null -q 4 -d 16 --nthreads 8 --per_io_tasks", {
    queues: 4,
    depth: 16,
    threads: 8,
    perIoDaemons: true,
  }],
  ["--type=null -q4 -d=16 -n 3", { queues: 4, depth: 16, id: 3 }],
  ["-tnull --number 5", { id: 5 }],
  ["-t null -n -1", { id: undefined }],
  ["-t null", { affinity: undefined }],
  ["-t null --affinity 0-1:3", { affinity: [[0, 1], [3]] }],
  ["-t null -g", { dataPath: "get-data" }],
  ["-t null --get_data", { dataPath: "get-data" }],
  ["-t null --get_data 1", { dataPath: "get-data" }],
  ["-t null --get-data=0", { dataPath: undefined }],
  ["-t null -u", { dataPath: "user-copy" }],
  ["-t null -z", { dataPath: "zero-copy" }],
  ["-t null --auto_zc", { dataPath: "auto-zero-copy" }],
  ["-t null --auto-zero-copy", { dataPath: "auto-zero-copy" }],
  ["-t null -z --auto_zc --auto_zc_fallback -b", {
    dataPath: "auto-zero-copy-fallback",
    batch: true,
  }],
  ["-t null --data-path copy", { dataPath: "copy" }],
  ["-t null -zb", { dataPath: "zero-copy", batch: true }],
  ["-t null -r 0", { recovery: undefined }],
  ["-t null -r 1", { recovery: "queue" }],
  ["-t null -r 1 -i 0", { recovery: "queue" }],
  ["-t null -r 1 -i 1", { recovery: "reissue" }],
  ["-t null -i 1", { recovery: "reissue" }],
  ["-t null -r 1 -e 1", { recovery: "fail" }],
  ["-t null -r reissue -i 1", { recovery: "reissue" }],
  ["-t null -u --data-path user-copy", { dataPath: "user-copy" }],
  ["-t null --metadata_size 8", { integrity: { metadataSize: 8 }, dataPath: undefined }],
  ["-t null --metadata-size 8 --checksum none", {
    integrity: { metadataSize: 8, checksum: "none" },
  }],
  ["-t null --recovery fail", { recovery: "fail" }],
  ["-t null --no_ublk_fixed_fd --no_auto_part_scan", { fixedFile: false, noPartitionScan: true }],
  ["-t null -u --metadata_size 16 --csum_type nvme --tag_size 8", {
    integrity: {
      metadataSize: 16,
      checksum: "nvme",
      tagSize: 8,
    },
  }],
  [
    "-t null -u --integrity_capable --integrity_reftag --metadata_size 64 --pi_offset 56 " +
    "--csum_type ip",
    {
      integrity: {
        metadataSize: 64,
        checksum: "ip",
        piOffset: 56,
        capable: true,
        refTag: true,
      },
    },
  ],
  ["-t null --shmem_zc --htlb /mnt/h --rdonly_shmem_buf", {
    sharedMemory: { path: "/mnt/h", readOnly: true },
  }],
  ["-t null --shared-memory h", { sharedMemory: { path: "/here/h" } }],
  ["-t null --rotational --physical-block-size 4K --io-opt 1M --discard-granularity 64K", {
    topology: {
      rotational: true,
      physicalBlockSize: 4096,
      ioOptBytes: 1 << 20,
      discardGranularityBytes: 65536,
    },
  }],
  ["-t null -q 1 --nthreads 4 -b", { threads: 4, batch: true }],
  ["-t null --quiet", { logLevel: 30 }],
  ["-t null --debug_mask 0x8", { logLevel: 5 }],
  ["-t null --debug_mask 20", { logLevel: 20 }],
  ["-t null -vv", { logLevel: 5 }],
  ["-uvvt null", { logLevel: 5 }],
  ["-vn0 -tnull -q2", { logLevel: 10, id: 0, queues: 2 }],
  ["-vvn 0 -t null", { logLevel: 5, id: 0 }],
];

for (const [line, expected] of OPTIONS) {
  Deno.test(`parseAdd understands: ublk add ${line}`, async () => {
    const options: Record<string, unknown> = { ...(await parse(line)).options };
    const actual = Object.fromEntries(Object.keys(expected).map((key) => [key, options[key]]));
    assertEquals(actual, expected as Record<string, unknown>);
  });
}

Deno.test("parseAdd takes files and a target's own options anywhere", async () => {
  const { target, backend } = await parse("-q 2 a.img -t stripe --chunk_size 16K /b.img --direct");
  assertEquals(target.name, "stripe");
  const text = JSON.stringify(backend.options);
  for (const part of ['"/here/a.img"', '"/b.img"', "16384"]) {
    assertEquals(text.includes(part), true);
  }
  assertEquals((await parse("-t fault-inject --delay_us 2000000")).target.name, "fault_inject");
  assertEquals(
    (await parse("-t loop -- -odd")).backend.options,
    (await parse("-t file /here/-odd")).backend.options,
  );
});

const SEE = "see `ublk add --help`";

/** Command lines, and the complete message for each. */
const MISTAKES: readonly [string, string][] = [
  ["-q 2", `--type: it is missing; use one of ${targetNames()}`],
  ["-t", `--type: it is missing; use one of ${targetNames()}`],
  [
    "-t tape",
    `--type: there is no target tape; use one of ${targetNames()}, or the path of a module such as ` +
    "./tape.ts",
  ],
  ["-t module", "--module: it is missing; name the file of the backend"],
  ["-t ./a.ts --module b.ts", "--type and --module: both name a module; give one of them"],
  [
    "-t data:text/javascript,export{o%20as%20open};function%20o(){};" +
    "export%20const%20target={name:'own',options:[{name:'wrap',kind:'text',help:'x'}]}",
    "own: its option --wrap is one of every disk; call it something else in the module's target",
  ],
  ["-t null --deadline 50ms", "--deadline: 50ms is out of range; use 100 to 2147483647"],
  [
    "-t null --deadline soon",
    '--deadline: "soon" is not a time; write milliseconds, or a time with a unit: 10ms, 1.5s, 2m',
  ],
  ["-t null -q x", '--queues: "x" is not a whole number; give one in digits'],
  ["-t null -q", `-q: it needs a value; ${SEE}`],
  ["-t null -q -1", "--queues: -1 is out of range; use 0 to 4096"],
  ["-t null -d 0", "--depth: 0 is out of range; use 1 to 4096"],
  ["-t null -n -2", "--id: -2 is out of range; use -1 to 1048575"],
  ["-t null -n 1 -n 2", "--id: it is given more than once; give it once"],
  ["-t null --max-io 5000", "--max-io: 5000 is not a multiple of 4096; 8192 is"],
  ["-t null --block-size 8K", "--block-size: 8K is not possible; use one of 512, 1024, 2048, 4096"],
  ["-t null --user_copy=1", `--user_copy: it takes no value; ${SEE}`],
  ["-t null --delay_us 3", `--delay_us: unknown flag; null has --size; ${SEE}`],
  ["-t null -k", `-k: unknown flag; null has --size; ${SEE}`],
  ["-t mem --nope a", `--nope: unknown flag; mem has --size, --max-size, --overcommit; ${SEE}`],
  ["-t null file", "file: null takes no files; leave it out"],
  ["-t loop", "loop: it needs a file, not 0; give more"],
  ["-t loop a b c", "c: loop takes 2 at most; leave it out"],
  ["-t null -g -u", "--get-data and --user-copy: data travels one way only; give one of them"],
  ["-t null -z -g", "--get-data and --zero-copy: data travels one way only; give one of them"],
  [
    "-t null -z --auto_zc",
    "--zero-copy and --auto-zero-copy: data travels one way only; give one of them",
  ],
  [
    "-t null -u --data-path copy",
    "--user-copy and --data-path: data travels one way only; give one of them",
  ],
  [
    "-t null -z --auto_zc --auto_zc_fallback -u",
    "--user-copy and --auto-zero-copy-fallback: data travels one way only; give one of them",
  ],
  [
    "-t null --auto_zc --auto_zc_fallback",
    "--auto-zero-copy-fallback: it is of no use by itself; give --zero-copy and --auto-zero-copy too",
  ],
  [
    "-t null --per_io_tasks -b",
    "--per-io-daemons and --batch: they exclude each other; give one of them",
  ],
  [
    "-t null --nthreads 3 -q 2",
    "--threads: 3 is not the number of queues (2); " +
    "leave it out, or add --per-io-daemons or --batch",
  ],
  ["-t null --nthreads 0", "--threads: 0 is out of range; use 1 to 4096"],
  [
    "-t null --auto_zc -b --nthreads 3 -q 2",
    "--threads: 3 is more than the queues (2), which auto-zero-copy with --batch cannot; " +
    "use 2 or fewer",
  ],
  [
    "-t null -i 1 -e 1",
    "--recovery-reissue and --recovery-fail-io: requests cannot both fail and wait to be sent again; " +
    "give one of them",
  ],
  ["-t null -r 2", "--recovery: 2 is not possible; use one of 0, 1, queue, reissue, fail"],
  ["-t null -i 2", "--recovery-reissue: 2 is not possible; use one of 0, 1"],
  ["-t null --pi_offset 8", "--pi-offset: there is no metadata; give --metadata-size too"],
  ["-t null --csum_type ip", "--checksum: there is no metadata; give --metadata-size too"],
  ["-t null --tag_size 8", "--tag-size: there is no metadata; give --metadata-size too"],
  [
    "-t null --integrity_capable",
    "--integrity-capable: there is no metadata; give --metadata-size too",
  ],
  [
    "-t null -z --metadata_size 8",
    "--metadata-size: metadata travels by user-copy, not by zero-copy; " +
    "use user-copy, or leave --data-path out",
  ],
  ["-t null -u --metadata_size 256", "--metadata-size: 256 is out of range; use 1 to 255"],
  [
    "-t null -u --csum_type crc",
    "--checksum: crc is not possible; use one of none, ip, t10dif, nvme",
  ],
  [
    "-t null -u --metadata_size 8 --integrity_reftag",
    "--reference-tag: it belongs to a checksum; give --checksum too",
  ],
  [
    "-t null -u --metadata_size 8 --csum_type nvme",
    "--metadata-size: 8 is too small for protection information up to byte 16; " +
    "use at least 16, or another --pi-offset or --checksum",
  ],
  ["-t null --htlb /h", "--htlb: nothing uses the memory; add --shmem-zc"],
  ["-t null --shmem_zc", "--shmem-zc: there is no memory to share; give --htlb PATH too"],
  [
    "-t null --shmem_zc --htlb /h --shared-memory /i",
    "--htlb and --shared-memory: the memory is one file; give one of them",
  ],
  [
    "-t null --rdonly_shmem_buf",
    "--shared-memory-read-only: there is no memory to share; give --shared-memory too",
  ],
  ["-t null --io-opt 5000", "--io-opt: 5000 is not a power of two; 8192 is"],
  [
    "-t null --physical-block-size 1",
    "--physical-block-size: 1 is out of range; use 512 to 268435456",
  ],
  ["-t null --resume", "--resume: it is not said which device; give --id too"],
  ["-t null --resume -n -1", "--resume: it is not said which device; give --id too"],
  ["-t null --cpus x", "x: it is not a list of CPUs; write one such as 0-3,8, up to 1023"],
  ["-t null --oom-score -1001", "--oom-score: -1001 is out of range; use -1000 to 1000"],
  ["-t null --debug_mask zz", '--debug-mask: "zz" is not a hexadecimal number'],
];

for (const [line, message] of MISTAKES) {
  Deno.test(`parseAdd names cause and remedy of: ublk add ${line}`, async () => {
    const error = await assertRejects(() => parse(line), UblkError);
    assertEquals([error.code, error.message], ["INVALID_ARGUMENT", message]);
  });
}

Deno.test("parseAdd + seeded hostile words + is a line, or one line of error", async (t) => {
  const words = [
    ...["-t", "null", "mem", "loop", "stripe", "zoned", "fault_inject", "-n", "-q", "-uvvt", "-vn"],
    ...["--size", "--size=nan", "1M", "0x10", "-0", "1e999", "9007199254740993", "--", "-", ""],
    ...["--wrap", "cow:,,,", "cow", "delay:read=\x1b", "cache:size=,,", "partition:1", "log:\n"],
    ...[
      "--id=1",
      "--recovery",
      "queue",
      "--deadline",
      "1s",
      "--cpus=0-",
      "--metrics=\x9b:1",
      "a\0b",
    ],
    ...[
      "--data-path=\u202e",
      "--__proto__=1",
      "--constructor",
      "--to-string",
      "-=",
      "--=",
      "-t=mem",
    ],
  ];
  await eachSeed(t, 3000, async (seed) => {
    const dice = new Dice(seed);
    const next = (limit: number) => dice.draw(limit);
    const line = Array.from({ length: next(8) }, () => words[next(words.length)]);
    try {
      await parseAdd("ublk add", line, "/here");
    } catch (error) {
      const { code, message } = error as UblkError;
      const what = `${JSON.stringify(line)}: ${message}`;
      assertEquals([error instanceof UblkError, code], [true, "INVALID_ARGUMENT"], what);
      // deno-lint-ignore no-control-regex
      assertEquals(/[\x00-\x1f\x7f-\x9f\u202e]/.test(message), false, what);
    }
  });
});
