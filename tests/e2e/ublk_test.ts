/** `ublk` with servers in the background: their output, records, recovery, and every end. */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { assertOneLine, commandLine, runCommand } from "../integration/_run_command.ts";
import { deleteAll, list, nodes, records, run, Running, sleep, start, within } from "./_command.ts";
import { testWhere } from "./_disk.ts";

/** For refusing to stop a disk in use, even in an emulated guest: `ublk del` once took a minute. */
const REFUSE_MS = 50_000;
/** How often a test tries to end `ublk add` before that is done, of which little is left. */
const TRIES = 5;

const ublk = (...args: string[]) => runCommand("ublk", args);

/** Runs a command that must succeed, and returns what it prints. */
async function done(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await ublk(...args);
  assertEquals([code, stderr], [0, ""], `ublk ${args.join(" ")}`);
  return stdout;
}

/** Runs `ublk add`; the device is deleted at the end of the scope, however that comes. */
async function add(...args: string[]) {
  const text = await done("add", ...args);
  const [first, second] = text.split("\n");
  // As the selftests' scripts take them apart.
  const id = Number(first.split(/[ :]/)[2]);
  const words = second.trim().split(/\s+/);
  return {
    text,
    id,
    pid: Number(words[6]),
    state: words[10],
    path: `/dev/ublkb${id}`,
    [Symbol.asyncDispose]: deleteAll,
  };
}

const stateOf = async (id: number) => /state (\w+)/.exec(await done("list", "-n", `${id}`))?.[1];

/** Resolves once the condition holds. */
async function until(what: string, condition: () => boolean | Promise<boolean>): Promise<void> {
  await within(
    (async () => {
      while (!await condition()) await sleep(20);
    })(),
    what,
  );
}

const exists = (path: string) => {
  try {
    Deno.lstatSync(path);
    return true;
  } catch {
    return false;
  }
};

const isNothingThere = () => nodes().length === 0 && records().length === 0;

async function nothingLeft(pid?: number): Promise<void> {
  if (pid !== undefined) await until(`end of ${pid}`, () => !exists(`/proc/${pid}`));
  assertEquals(nodes(), []);
  // A server removes its record itself, and `ublk del` does not wait for ever for that.
  await until("the end of the records", () => records().length === 0);
}

/** What the driver offers. */
const offered = (await done("features")).split("\n").map((line) => line.split(": ")[1]);

Deno.test("ublk add returns once the disk opens, with kublk's words", async () => {
  // The benchmark's kublk may have made the folder, open to all as it is there.
  await Deno.remove("/run/ublk").catch(() => {});
  await using device = await add("-t", "null", "-q", "2", "-d", "32", "-n", "4");
  // At this very moment: no udev rule, no waiting.
  const dd = await run("dd", `if=${device.path}`, "of=/dev/null", "bs=4k", "count=1");
  assertEquals(dd.code, 0, dd.stderr);
  assertMatch(
    device.text,
    new RegExp(
      "^dev id 4: nr_hw_queues 2 queue_depth 32 block size 512 dev_capacity 524288000\n" +
        `\tmax rq size 524288 daemon pid ${device.pid} flags 0x[0-9a-f]+ state LIVE\n` +
        "\tqueue 0: affinity\\(\\d+ \\)\n\tqueue 1: affinity\\(\\d+ \\)\n$",
    ),
  );
  assertEquals(await done("list", "-n", "4"), device.text);
  assertEquals(await done("list", "-v"), device.text);
  const record = JSON.parse(await Deno.readTextFile("/run/ublk/4.json"));
  assertEquals([record.id, record.target, record.pid], [4, "null", device.pid]);
  assertStringIncludes(await Deno.readTextFile(record.log), "ublk: serving /dev/ublkb4: 250 GiB");
  assertEquals((await Deno.lstat("/run/ublk")).mode! & 0o777, 0o700);
  for (const file of [record.log, record.socket, "/run/ublk/4.json"]) {
    assertEquals((await Deno.lstat(file)).mode! & 0o777, 0o600, file);
  }
  // A session of its own, and nothing left of the command that started it.
  const ps = await run("ps", "-o", "ppid=,sid=,tty=", "-p", `${device.pid}`);
  assertEquals(ps.stdout.trim().split(/\s+/).slice(1), [`${device.pid}`, "?"]);
  assertEquals(await done("del", "-n", "4"), "");
  await nothingLeft(device.pid);
});

Deno.test("ublk add -t mem --json prints JSON; SIGTERM ends the server, and all is gone", async () => {
  const { code, stdout, stderr } = await ublk("add", "-t", "mem", "--size", "32M", "--json");
  assertEquals([code, stderr], [0, ""]);
  const info = JSON.parse(stdout);
  assertEquals([info.size, info.path], [32 << 20, `/dev/ublkb${info.id}`]);
  const [row] = await list();
  assertEquals([row.target, row.serverPid, row.hint, row.log], ["mem", info.pid, null, info.log]);
  Deno.kill(info.pid, "SIGTERM");
  await nothingLeft(info.pid);
});

Deno.test("ublk add that fails says why in one line and leaves nothing", async () => {
  await using device = await add("-t", "null", "-n", "5");
  assertOneLine(
    await ublk("add", "-t", "null", "-n", "5"),
    1,
    /^ublk: error: ADD_DEV.*the id is in use \(EEXIST\)/,
  );
  assertOneLine(await ublk("add", "-t", "loop", "/no/such"), 2, /^ublk: error: .*\/no\/such/);
  assertOneLine(await ublk("add", "-t", "loop"), 2, /^ublk: error: loop: it needs a file/);
  assertEquals(nodes(), ["ublkb5", "ublkc5"]);
  assertEquals(records(), ["5.json", "5.log", "5.sock"]);
  assertEquals(await stateOf(device.id), "LIVE");
});

Deno.test("a loop disk whose server is killed goes on by ublk recover -n N alone", async () => {
  const file = await Deno.makeTempFile();
  try {
    await Deno.truncate(file, 32 << 20);
    await using device = await add("-t", "loop", "-r", "1", "-i", "1", file);
    const write = ["if=/dev/urandom", `of=${device.path}`, "bs=1M", "count=4", "oflag=direct"];
    assertEquals((await run("dd", ...write)).code, 0);
    const sum = async () => (await run("md5sum", device.path)).stdout;
    const before = await sum();
    Deno.kill(device.pid, "SIGKILL");
    await until("quiesced", async () => await stateOf(device.id) === "QUIESCED");
    const [row] = await list();
    assertEquals([row.orphan, row.serverAlive, row.target], [true, false, "loop"]);
    assertStringIncludes(String(row.hint), `ublk recover -n ${device.id}`);
    const text = await done("recover", "-n", `${device.id}`);
    assertMatch(text, /^dev id \d+: nr_hw_queues 1 .*\n.* state LIVE\n/);
    assert(!text.includes(`pid ${device.pid} `), "another server");
    const log = await Deno.readTextFile(`/run/ublk/${device.id}.log`);
    assertMatch(log, /serving [^]*\n--- above: the server before; below: process \d+[^]*serving /);
    assertEquals(await sum(), before);
    await done("del", "-n", `${device.id}`);
    await nothingLeft();
  } finally {
    await Deno.remove(file);
  }
});

testWhere(
  offered.includes("UPDATE_SIZE"),
  "ublk recover takes a file as it is now, and makes none",
  async () => {
    const folder = await Deno.makeTempDir();
    const file = `${folder}/disk`;
    try {
      await using device = await add("-t", "loop", "-r", "1", "--create", "--size", "32M", file);
      const id = `${device.id}`;
      // Longer than the command line in the record has it.
      await done("update_size", "-n", id, "-s", "48M");
      Deno.kill(device.pid, "SIGKILL");
      await until("quiesced", async () => await stateOf(device.id) === "QUIESCED");
      // As where the filesystem with the file is not mounted yet.
      await Deno.rename(file, `${file}.away`);
      assertOneLine(await ublk("recover", "-n", id), 2, /\/disk: there is no such file/);
      assertEquals([...Deno.readDirSync(folder)].map(({ name }) => name), ["disk.away"]);
      await Deno.rename(`${file}.away`, file);
      await done("recover", "-n", id);
      assertEquals((await run("blockdev", "--getsize64", device.path)).stdout, `${48 << 20}\n`);
      assertEquals((await Deno.stat(file)).size, 48 << 20);
      await done("del", "-n", id);
      await nothingLeft();
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
);

Deno.test("a disk of ublk-file goes on by ublk recover, also by a record of 0.1.0", async () => {
  const folder = await Deno.makeTempDir();
  const file = `${folder}/disk`;
  const recovered = async (id: number) => {
    const row = (await list()).find((row) => row.id === id)!;
    Deno.kill(row.serverPid as number, "SIGKILL");
    await until("quiesced", async () => await stateOf(id) === "QUIESCED");
    await done("recover", "-n", `${id}`);
    return (await list()).find((row) => row.id === id)!;
  };
  try {
    await Deno.writeTextFile(file, "here".padEnd(32 << 20, "."));
    await using server = start("ublk-file", "-q", "2", "-r", "reissue", "--json", file);
    const { id, path } = JSON.parse(await server.firstLine());
    try {
      const head = async () => (await run("head", "-c", "4", path)).stdout;
      // One writer, whichever program it is; kublk's spelling lets only its like share.
      for (const line of [["add"], ["kublk", "add"]]) {
        assertOneLine(
          await ublk(...line, "-t", "loop", file),
          2,
          /\/disk: it is in use by another disk or program \(flock\); end it/,
        );
      }
      const again = await recovered(id);
      assertEquals([again.target, again.queues, await head()], ["loop", 2, "here"]);
      const record = `/run/ublk/${id}.json`;
      const { version: _v, request: _r, ...old } = JSON.parse(await Deno.readTextFile(record));
      const argv = ["-t", "loop", "-q", "2", "-r", "reissue", "disk"];
      await Deno.writeTextFile(
        record,
        JSON.stringify({ ...old, program: "ublk", argv, cwd: folder }),
      );
      assertEquals([(await recovered(id)).target, await head()], ["loop", "here"]);
    } finally {
      await ublk("del", "--force", "-a");
    }
    // As the selftests have it.
    await using _first = await add("-t", "loop", "--shared", file);
    assertMatch(
      await done("kublk", "add", "-t", "loop", file),
      /nr_hw_queues 2 .*\n\tmax rq size 1048576 /,
    );
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("ublk recover gives up what a RAM disk held only if told so", async () => {
  await using device = await add("-t", "mem", "--size", "32M", "-r", "1");
  const id = `${device.id}`;
  Deno.kill(device.pid, "SIGKILL");
  await until("quiesced", async () => await stateOf(device.id) === "QUIESCED");
  assertOneLine(
    await ublk("recover", "-n", id),
    1,
    /recover \(device \d+\): what mem held is gone .*; to go on without it, add -t mem/,
  );
  const text = await done("recover", "-n", id, "-t", "mem", "--size", "32M", "-r", "1");
  assertMatch(text, / state LIVE\n/);
  assertEquals((await run("dd", `if=${device.path}`, "of=/dev/null", "count=1")).code, 0);
});

testWhere(
  offered.includes("UBLK_F_QUIESCE"),
  "ublk quiesce takes a device away from its server, and recover gives it another",
  async () => {
    await using device = await add("-t", "null", "-r", "1");
    assertEquals(await done("quiesce", "-n", `${device.id}`), "");
    assertEquals(await stateOf(device.id), "QUIESCED");
    await until("the old server's end", () => !exists(`/proc/${device.pid}`));
    assert(records().includes(`${device.id}.json`), "the record stays");
    await done("recover", "-n", `${device.id}`, "-t", "null");
    assertEquals(await stateOf(device.id), "LIVE");
  },
);

testWhere(
  offered.includes("UBLK_F_UPDATE_SIZE"),
  "ublk update_size asks the server, and the disk has that size",
  async () => {
    await using device = await add("-t", "null");
    assertEquals(await done("update_size", "-n", `${device.id}`, "-s", "1G"), "");
    assertEquals((await run("blockdev", "--getsize64", device.path)).stdout, `${2 ** 30}\n`);
    assertOneLine(
      await ublk("update-size", "-n", `${device.id}`, "-s", "1000"),
      2,
      /--size: 1000 is not whole blocks of 512; 1024 is/,
    );
  },
);

Deno.test("ublk add --affinity places each thread, and set_affinity moves a queue's", async () => {
  await using device = await add("-t", "null", "-q", "2", "--affinity", "1:0,2");
  const cpus = async () => {
    const script = `cd /proc/${device.pid}/task; for t in $(grep -l ^worker- */comm); do ` +
      "sed -n 's/^Cpus_allowed_list:.//p' ${t%comm}status; done";
    return (await run("sh", "-c", script)).stdout.trim().split("\n").sort();
  };
  assertEquals(await cpus(), ["0,2", "1"]);
  await done("set_affinity", "-n", `${device.id}`, "-q", "1", "0");
  assertEquals(await cpus(), ["0", "1"]);
  assertOneLine(
    await ublk("set_affinity", "-n", `${device.id}`, "-q", "2", "0"),
    2,
    /--queue: 2 is out of range; use 0 to 1/,
  );
});

Deno.test("ublk get_params shows what the server set", async () => {
  await using device = await add("-t", "null", "--block-size", "4K");
  const text = await done("get_params", "-n", `${device.id}`);
  assertMatch(text, /^types: 0x[0-9a-f]+ \(basic .*devt.*\)\n/);
  assertStringIncludes(text, "basic.logical_bs_shift: 12\n");
  const params = JSON.parse(await done("get_params", "-n", `${device.id}`, "--json"));
  assertEquals([params.basic.logical_bs_shift, params.meaning.blockSize], [12, 4096]);
});

const STAGES: readonly [string, () => boolean][] = [
  ["it has started the server", () => records().some((name) => name.startsWith("start-"))],
  ["there is a device", () => nodes().length > 0],
];

for (const [stage, reached] of STAGES) {
  Deno.test(`whoever ends ublk add as soon as ${stage} ends the server too`, async () => {
    for (let tries = 1;; tries++) {
      await until("nothing left", isNothingThere);
      await using adding = new Running(commandLine("ublk", ["add", "-t", "null"]));
      await until(stage, reached);
      try {
        adding.kill("SIGINT");
      } catch {
        // It has ended.
      }
      const code = await adding.exitCode();
      // It was done before the signal came; its device goes at the end of the scope.
      if (code === 0 && adding.stdout.startsWith("dev id") && tries < TRIES) continue;
      assertEquals([code, adding.stdout], [130, ""], adding.stderr);
      await until("the server's end", isNothingThere);
      return;
    }
  });
}

Deno.test("ublk add whose stdout nobody reads leaves no device", async () => {
  const line = commandLine("ublk", ["add", "-t", "null"]).map((word) => `'${word}'`).join(" ");
  const ran = await run("bash", "-c", `${line} | true; exit \${PIPESTATUS[0]}`);
  assertOneLine(ran, 1, /write to stdout: .+; give it a reader, or \/dev\/null/);
  assertEquals(nodes(), []);
});

Deno.test("ublk del forgets what a server left that died without its device", async () => {
  await Deno.mkdir("/run/ublk", { recursive: true, mode: 0o700 });
  const record = {
    id: 99,
    program: "ublk",
    target: "mem",
    argv: ["-t", "mem"],
    cwd: "/",
    pid: 999_999,
    startTicks: 1,
    log: null,
    socket: null,
  };
  const leave = () => Deno.writeTextFile("/run/ublk/99.json", JSON.stringify(record));
  await leave();
  const [row] = await list();
  assertEquals([row.id, row.state, row.orphan, row.target], [99, "gone", true, "mem"]);
  assertStringIncludes((await ublk("list")).stdout, "dead (orphan): `ublk del -n 99` forgets it");
  assertEquals(await done("del", "-n", "99"), "");
  assertEquals(records().includes("99.json"), false);
  await leave();
  assertEquals(await done("del", "-a"), "");
  assertEquals(await list(), []);
  assertOneLine(await ublk("del", "-n", "99"), 1, /no such device \(ENODEV\)/);
});

Deno.test("adding and deleting side by side hits nobody else's device", async () => {
  const cycles = async () => {
    for (let round = 0; round < 2; round++) {
      const text = await done("add", "-t", "null", "-q", "1");
      const id = /dev id (\d+)/.exec(text)![1];
      const pid = /daemon pid (\d+)/.exec(text)![1];
      assertStringIncludes(await done("list", "-n", id), `daemon pid ${pid} `);
      await done("del", "-n", id);
    }
  };
  await Promise.all([cycles(), cycles(), cycles()]);
  await until("nothing left", isNothingThere);
});

testWhere(
  offered.includes("UBLK_F_SAFE_STOP_DEV"),
  "ublk stop --safe refuses while the disk is open",
  async () => {
    await using device = await add("-t", "null");
    const held = await Deno.open(device.path);
    assertOneLine(
      await ublk("stop", "-n", `${device.id}`, "--safe"),
      1,
      /somebody has the disk open: it is open in process \d+ \(deno\) \(EBUSY\)/,
    );
    held.close();
    assertEquals(await done("stop", "-n", `${device.id}`, "--safe"), "");
    await nothingLeft(device.pid);
  },
);

// The folder in which it was started could not be unmounted while the disk was there.
Deno.test("a server in the background holds neither its caller's folder nor its descriptors", async () => {
  const folder = await Deno.makeTempDir();
  try {
    await Deno.mkdir(`${folder}/m`);
    await sh('mount -t tmpfs none "$0/m"; truncate -s 16M "$0/disk"', folder);
    const line = commandLine("ublk", ["add", "-t", "loop", "../disk", "--json"])
      .map((word) =>
        word.startsWith("cmd/") ? new URL(`../../${word}`, import.meta.url).pathname : word
      );
    const ran = await run(
      "bash",
      "-euc",
      'cd "$0/m"; exec 9>held 29>held; "$@"',
      folder,
      ...line,
    );
    assertEquals([ran.code, ran.stderr], [0, ""]);
    const { id, pid } = JSON.parse(ran.stdout);
    await sh('umount "$0/m"', folder);
    assertEquals(await Deno.readLink(`/proc/${pid}/cwd`), "/");
    // A path on the command line is still relative to the folder.
    const record = JSON.parse(await Deno.readTextFile(`/run/ublk/${id}.json`));
    assertEquals(record.request.files, [`${folder}/m/../disk`]);
    await done("del", "-n", `${id}`);
    await nothingLeft(pid);
  } finally {
    await ublk("del", "--force", "-a");
    await run("umount", "-l", `${folder}/m`);
    await Deno.remove(folder, { recursive: true });
  }
});

// The last process of a mount namespace unmounts what is mounted there, before it lets go of its
// files: a server that was it waited for its own disk, and no signal ended it.
Deno.test("a server is not the last one out of a mount namespace that has its disk mounted", async () => {
  const folder = await Deno.makeTempDir();
  const line = commandLine("ublk", [
    "add",
    "-t",
    "loop",
    "-r",
    "1",
    "-i",
    "1",
    "--json",
    `${folder}/d`,
  ]);
  const script = [
    "truncate -s 64M $0/d; mkdir $0/m",
    '"$@" >$0/info; disk=$(jq -r .path $0/info)',
    "mkfs.ext4 -q $disk; mount $disk $0/m; head -c 20M /dev/urandom >$0/m/file",
    "exec sleep 300 >$0/up",
  ].join("\n");
  const inside = new Running(["unshare", "--mount", "bash", "-euc", script, folder, ...line]);
  try {
    await until("the mount", () => exists(`${folder}/up`));
    const { id, pid, path } = JSON.parse(await Deno.readTextFile(`${folder}/info`));
    Deno.kill(pid, "SIGKILL");
    inside.kill("SIGKILL");
    await until("the server's end", () => !exists(`/proc/${pid}`));
    // The other one writes what is dirty as it ends, and waits for a server.
    await done("recover", "-n", `${id}`);
    assertEquals(await inside.exitCode(), 137);
    const fsck = await run("fsck.ext4", "-fn", path);
    assertEquals(fsck.code, 0, fsck.stdout);
    await done("del", "-n", `${id}`);
    await until("nothing left", isNothingThere);
  } finally {
    await inside[Symbol.asyncDispose]();
    await Deno.remove(folder, { recursive: true });
  }
});

/** Runs a shell script that must succeed. */
async function sh(script: string, ...args: string[]): Promise<void> {
  const { code, stderr } = await run("bash", "-euc", script, ...args);
  assertEquals([code, stderr], [0, ""], script);
}

Deno.test("ublk list shows the file, the mounts and the holders of disks; devices are operands", async () => {
  const folder = await Deno.makeTempDir();
  try {
    // As rublk and ublksrv are used.
    await using file = await add("loop", "--create", "--size", "64M", "-f", `${folder}/a.img`);
    await using memory = await add("mem", "--size", "64M");
    await sh('mkfs.ext4 -q "$0"; mkdir "$1/a b"; mount "$0" "$1/a b"', file.path, folder);
    await sh('mkswap -q "$0"; swapon "$0"; losetup -f "$0"', memory.path);
    const rows = async (...more: string[]) =>
      (await done("ls", "-o", "ID,FILE,MOUNT,HOLDER", "--noheadings", ...more)).trimEnd()
        .split("\n").map((line) => line.split(/ {2,}/));
    const [first, second] = await rows();
    assertEquals(first, [`${file.id}`, `${folder}/a.img`, `${folder}/a b`, "-"]);
    assertEquals(second.slice(0, 3), [`${memory.id}`, "-", "[SWAP]"]);
    assertMatch(second[3], /^loop\d+$/);
    assertEquals(await rows(memory.path), [second]);
    const [info] = JSON.parse(await done("list", "--json", `ublkb${file.id}`));
    assertEquals([info.files, info.mounts, info.holders], [
      [`${folder}/a.img`],
      [`${folder}/a b`],
      [],
    ]);
    assertMatch(await done("info", file.path), new RegExp(`^mounts: ${folder}/a b$`, "m"));
    await sh(
      'umount "$1/a b"; swapoff "$0"; losetup -d $(losetup -j "$0" | cut -d: -f1)',
      memory.path,
      folder,
    );
    // One that is not there does not hold up the others.
    const { code, stderr } = await ublk("rm", file.path, "99", `/dev/ublkc${memory.id}`);
    assertEquals(code, 1);
    assertMatch(stderr, /^ublk: error: [^\n]*\(device 99\)[^\n]*\n$/);
    await nothingLeft();
  } finally {
    // Where a disk is mounted still, something else went wrong, and shall be what is told.
    await Deno.remove(folder, { recursive: true }).catch(() => {});
  }
});

// `del` of a mounted disk went ahead, waited for a minute and blamed the server.
Deno.test("ublk del and stop leave a disk in use alone and name its users, dead or alive", async () => {
  const folder = await Deno.makeTempDir();
  try {
    await using device = await add("-t", "mem", "--size", "64M", "-q", "1");
    const id = `${device.id}`;
    await sh(
      'mkswap -q "$0"; swapon "$0"; losetup -f "$0"; ' +
        '(exec 3<"$0"; exec sleep 300) </dev/null >/dev/null 2>&1 & echo $! >"$1/pid"; ' +
        "until [ -e /proc/$!/fd/3 ]; do sleep 0.05; done",
      device.path,
      folder,
    );
    const startMs = performance.now();
    assertOneLine(
      await ublk("stop", "-n", id),
      1,
      /\/dev\/ublkb\d+ is swapped to \(.*\), held by loop\d+, open in process \d+ \(sleep\); swapoff .*--force -n/,
    );
    assert(performance.now() - startMs < REFUSE_MS);
    await sh(
      'swapoff "$0"; losetup -d $(losetup -j "$0" | cut -d: -f1); kill $(cat "$1/pid"); ' +
        'mkfs.ext4 -q "$0"; mount "$0" "$1"; ' +
        'unshare -m sh -c ": >$1/up; exec sleep 300" ' +
        '</dev/null >/dev/null 2>&1 & echo $! >"$1.pid"; until [ -e "$1/up" ]; do sleep 0.05; done',
      device.path,
      folder,
    );
    const mounted = new RegExp(
      `is mounted at ${folder}, mounted at ${folder} in the mount namespace of process ` +
        `\\d+ \\(sleep\\).*; umount ${folder}; or lose what is not written: ublk del --force`,
    );
    assertOneLine(await ublk("del", "-n", id), 1, mounted);
    assertEquals(await stateOf(device.id), "LIVE");
    Deno.kill(device.pid, "SIGKILL");
    await until("dead", async () => await stateOf(device.id) === "DEAD");
    assertOneLine(await ublk("del", "-a"), 1, mounted);
    const forced = await ublk("del", "--force", "-n", id);
    assertEquals([forced.code, forced.stdout], [0, ""]);
    assertMatch(
      forced.stderr,
      /^ublk: warning: \/dev\/ublkb\d+ is deleted; its id stays taken until nobody uses it .*: it is mounted at /,
    );
    await sh('kill $(cat "$0.pid"); umount "$0"', folder);
    await until("nothing left", isNothingThere);
  } finally {
    await run("umount", "-l", folder);
    await Deno.remove(folder, { recursive: true });
    await Deno.remove(`${folder}.pid`).catch(() => {});
  }
});

Deno.test("ublk add --config makes the devices of a file, all of them or none", async () => {
  const folder = await Deno.makeTempDir();
  const config = `${folder}/disks.toml`;
  const write = (size: string) =>
    Deno.writeTextFile(
      config,
      `[[device]]\ntype = "loop"\nfiles = ["a.img"]\ncreate = true\nsize = "32M"\nqueues = 1\n\n` +
        `[[device]]\ntype = "mem"\nsize = "${size}"\nid = 7\n`,
    );
  try {
    await write("64");
    const { stderr, ...ran } = await ublk("add", "--config", config);
    // The place in the file is shown below the line.
    const [line, ...excerpt] = stderr.trimEnd().split("\n");
    assertOneLine(
      { ...ran, stderr: `${line}\n` },
      2,
      /disks\.toml:\d+:\d+: .*64 is not a multiple of the block size/,
    );
    assertEquals(excerpt.map((one) => /^ +\d* \| .+/.test(one)), [true, true]);
    assertEquals([nodes(), [...Deno.readDirSync(folder)].length], [[], 1]);
    await write('64M"\nforeground = true #');
    assertOneLine(
      await ublk("add", "--config", config),
      2,
      /--foreground: it has 2 devices, and a process serves one; leave it out/,
    );
    await write("64M");
    assertOneLine(
      await ublk("add", "--config", config, "--foreground"),
      2,
      /--foreground: it has 2 devices, and a process serves one; leave it out/,
    );
    const text = await done("add", "--config", config, "--depth", "8");
    assertMatch(text, /^dev id 0: nr_hw_queues 1 queue_depth 8 .*dev_capacity 65536\n/);
    assertMatch(text, /\ndev id 7: nr_hw_queues 1 queue_depth 8 .*dev_capacity 131072\n/);
    await done("del", "-a");
    await nothingLeft();
  } finally {
    await ublk("del", "-a");
    await Deno.remove(folder, { recursive: true });
  }
});
