/**
 * An encrypted volume as a disk, by the command: its filesystem outlives its server, its key alone
 * opens it, and neither its data nor its key lies anywhere as it is.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { assertOneLine, runCommand } from "../integration/_run_command.ts";
import { attempt, sh } from "../e2e/_disk.ts";
import { attach, place, right, ublk, volume } from "../e2e/_volumes.ts";

/** What a file is full of, and is called. */
const WORDS = "nobody-but-the-owner-is-to-read-this";
/** For processes that may read others of their user, and only those. */
const UNTRACING = ["setpriv", "--bounding-set=-sys_ptrace"];

Deno.test("an encrypted volume outlives its server under a filesystem, and opens with its key alone", async () => {
  await using at = await place();
  await using cores = await coreFiles(at.path);
  const env = { at: at.path, fs: at.fs, words: WORDS, cores: cores.path };
  await sh("for name in key other; do head -c 32 /dev/urandom > $at/$name; done", env);
  const withKey = (name: string) => ["--key-file", `${at.path}/${name}`];
  const flags = [...at.both, "--cache", "8M", "--cache-dir", `${at.fs}/caches`];
  await right(volume("create", "db", "--size", "32M", ...at.store, ...withKey("key")));
  const { id, pid, path: disk } = await attach(
    ...["db", ...flags, ...withKey("key"), "--journal-size", "32M", "-r", "reissue"],
  );
  await sh(
    `mkfs.ext4 -q -E lazy_journal_init=1 $disk; mkdir $at/m; mount $disk $at/m
     yes $words | head -c 64K > $at/m/$words || test $? = 141
     sync -f $at/m; sha256sum $at/m/$words > $at/sums`,
    { ...env, disk },
  );
  const load = sh(
    `for n in $(seq 12); do
       head -c 16K /dev/urandom > $at/m/$n; sync $at/m/$n; sha256sum $at/m/$n >> $at/sums
     done`,
    env,
  ).catch((error) => error as Error);
  await sh("while [ $(wc -l < $at/sums) -lt 4 ]; do sleep 0.1; done", env);
  Deno.kill(pid, "SIGKILL");
  const recovered = JSON.parse(
    await right(runCommand("ublk", ["recover", "--json", `${id}`], { wrap: UNTRACING })),
  ).pid;
  const failure = await load;
  if (failure instanceof Error) throw failure;
  const areThere = "echo 3 > /proc/sys/vm/drop_caches; sha256sum --quiet -c $at/sums";
  await sh(areThere, env);
  await isPrivate(recovered, env);
  await sh("umount $at/m", env);
  await right(volume("detach", "db"));

  // Another key is refused, and has changed nothing.
  const files = () => sh("find $fs -printf '%P %i %s %C@\\n' | sort", env);
  const before = await files();
  const wrong = await volume("attach", "db", ...flags, ...withKey("other"));
  assertOneLine(wrong, 1, /^ublk-volume: .*: the key does not open it; give the key that/);
  assertEquals(await files(), before);

  const again = await attach("db", ...flags, ...withKey("key"));
  await sh(`mount $disk $at/m; ${areThere}; umount $at/m`, { ...env, disk: again.path });
  // Lines that the first server had fetched are in the cache's file.
  const counted = JSON.parse(await right(volume("stats", "db", "--json")));
  assert(counted.cacheDiskHits + counted.cacheMisses > 0, JSON.stringify(counted));
  await sh("grep -qaF $words $disk", { ...env, disk: again.path });
  for (const folder of ["store", "journal", "caches"]) {
    const found = await attempt(`grep -rlaF $words $fs/${folder}`, env);
    assertEquals([found.code, found.stdout, found.stderr], [1, "", ""], "it lies there as it is");
  }
  // A server that crashes leaves none of its memory.
  await sh("prlimit --core=unlimited --pid $pid", { pid: `${again.pid}` });
  Deno.kill(again.pid, "SIGABRT");
  await right(ublk("del", `${again.id}`));
  assertEquals([...Deno.readDirSync(cores.path)], []);
  const sound = await volume("check", "db", ...at.both, ...withKey("key"));
  assertEquals([sound.code, sound.stderr], [0, ""], sound.stdout);
});

/** Another process of the server's user reads nothing of it, and the key is not where root can see. */
async function isPrivate(pid: number, env: Record<string, string>): Promise<void> {
  const [program, ...words] = UNTRACING;
  const isReadable = async (pid: number) => {
    const read = "exec 3< /proc/$0/mem";
    const { success } = await new Deno.Command(program, {
      args: [...words, "bash", "-c", read, `${pid}`],
      stderr: "null",
    }).output();
    return success;
  };
  const other = new Deno.Command(program, { args: [...words, "sleep", "60"] }).spawn();
  try {
    assertEquals([await isReadable(other.pid), await isReadable(pid)], [true, false]);
  } finally {
    other.kill();
    await other.status;
  }
  const key = Deno.readFileSync(`${env.at}/key`).toHex();
  const records = [...Deno.readDirSync("/run/ublk")].filter(({ isFile }) => isFile);
  assert(records.length > 0, "a record or a log");
  const seen = [
    ...["cmdline", "environ"].map((name) => `/proc/${pid}/${name}`),
    ...records.map(({ name }) => `/run/ublk/${name}`),
  ];
  for (const path of seen) assert(!Deno.readFileSync(path).toHex().includes(key), path);
}

/** A folder in which a process that crashes leaves its memory, for as long as this is open. */
async function coreFiles(folder: string): Promise<AsyncDisposable & { path: string }> {
  const path = `${folder}/cores`;
  const pattern = await sh("cat /proc/sys/kernel/core_pattern");
  await sh(
    `mkdir $path; echo $path/%p > /proc/sys/kernel/core_pattern
     bash -c 'ulimit -c unlimited; kill -ABRT $$' || rm $path/*`,
    { path },
  );
  return {
    path,
    async [Symbol.asyncDispose]() {
      await sh('echo "$pattern" > /proc/sys/kernel/core_pattern', { pattern });
    },
  };
}
