/** Encrypted volumes in all dialects, from a client's side: a real server of NATS, nodes with and without the key. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { NodeKey } from "../../ebs/node_key.ts";
import { openStore } from "../../store/open.ts";
import { openCipher } from "../../volume/seal/gcm.ts";
import { MIB } from "../ebs/bed.ts";
import { Cluster } from "../ebs/cluster.ts";
import { Scratch } from "../scratch.ts";
import { client } from "./_nbd.ts";
import { assertOneLine, runCommand } from "./_run_command.ts";

// It stays open for the life of the process, which is no leak of the test that seals first.
openCipher();

const SECRET = "the tenant's own words";

function keyFile(folder: string, byte: number): string {
  const path = `${folder}/key-${byte}`;
  Deno.writeFileSync(path, new Uint8Array(32).fill(byte));
  return path;
}

/** The files of folders that have a text. */
function filesWith(text: string, ...folders: string[]): string {
  const args = ["-rlaF", "--exclude=secret", text, ...folders];
  return new TextDecoder().decode(new Deno.Command("grep", { args }).outputSync().stdout);
}

Deno.test("encrypted volumes + from create to delete, in all dialects", async () => {
  await using cluster = await Cluster.start();
  const { folder } = cluster.bed;
  const key = keyFile(folder, 0xab);
  await cluster.node("one", { keyFile: key });
  await cluster.node("two", { keyFile: key });
  const provider = (subject: string, body: object = {}) => cluster.provider(subject, body);
  const ask = (subject: string, body: object = {}) => cluster.ask(`ebs.${subject}`, body);
  Deno.writeTextFileSync(`${folder}/secret`, SECRET.padEnd(4096, "."));

  // EC2's words.
  const wish = { VolumeId: "vol-1", Size: 1, Encrypted: true };
  for (const _ of [1, 2]) assertEquals((await ask("createvolume", wish)).Encrypted, true);
  const other = await ask("createvolume", { ...wish, Encrypted: false });
  assertEquals(other.Error.Code, "IdempotentParameterMismatch");
  const { NbdUri, Error } = await ask("attachvolume", { VolumeId: "vol-1", NodeId: "one" });
  assertEquals(Error, undefined);
  await client(
    "qemu-io",
    "-f",
    "raw",
    "-c",
    `write -s ${folder}/secret 0 4k`,
    "-c",
    "flush",
    NbdUri,
  );
  // Neither the journal has it as it is, nor the store.
  assertEquals(filesWith(SECRET, folder), "");
  assertEquals((await ask("sync", { Volume: "vol-1" })).Synced, true);
  assertEquals(filesWith(SECRET, folder), "");

  // It grows, mounted or not, and the contract tells what it is.
  const grow = async (gib: number) => {
    const capacity_range = { required_bytes: gib * 1024 * MIB };
    const { volume } = await provider("volume.expand", { volume_id: "vol-1", capacity_range });
    assertEquals(volume.capacity_bytes, capacity_range.required_bytes);
    assertEquals(volume.provider_data, { encrypted: true });
  };
  await grow(2);
  const completion = cluster.next("ebs.provider.v1.snapshot.response.snap-1");
  await provider("snapshot.create.vol-1", { volume_id: "vol-1", snapshot_id: "snap-1" });
  assertEquals((await completion).snapshot.state, "completed");
  assertEquals((await ask("detachvolume", { VolumeId: "vol-1" })).State, "detached");
  await grow(3);

  // Another node has it, and a volume of its snapshot, which nobody asked to be encrypted.
  const moved = await ask("mount", { Name: "vol-1" });
  const read = ["-f", "raw", "-c", "read -P 0x74 0 1", "-c", "read -P 0 1G 4k"];
  await client("qemu-io", ...read, moved.URI);
  const { volume } = await provider("volume.create", {
    ...{ volume_id: "vol-2", capacity_range: { required_bytes: 2048 * MIB } },
    ...{ source_snapshot_id: "snap-1", source_snapshot_volume_id: "vol-1" },
    parameters: { encrypted: "false" },
  });
  assertEquals(volume.provider_data, { source_snapshot_id: "snap-1", encrypted: true });
  const { published } = await provider("two.mount", { volume_id: "vol-2", node_id: "two" });
  await client("qemu-io", ...read, published.nbd_uri);
  const created = cluster.next("ebs.createvolume.response.vol-3");
  const begun = await ask("createvolume", { VolumeId: "vol-3", SnapshotId: "snap-1" });
  assertEquals([begun.State, begun.Encrypted], ["creating", true]);
  assertEquals((await created).Encrypted, true);
  const plain = await provider("volume.create", {
    ...{ volume_id: "vol-4", capacity_range: { required_bytes: MIB }, parameters: {} },
  });
  assertEquals(plain.volume.provider_data, undefined);
  const sealed = await provider("volume.create", {
    ...{ volume_id: "vol-5", capacity_range: { required_bytes: MIB } },
    ...{ parameters: { encrypted: true }, seed_data: btoa(SECRET) },
  });
  assertEquals(sealed.volume.provider_data, { encrypted: true });
  assertEquals(filesWith(SECRET, folder), "");
  const { Volumes } = await ask("describevolumes");
  assertEquals(
    Volumes.map((one: Record<string, unknown>) => [one.VolumeId, one.Encrypted]),
    [["vol-1", true], ["vol-2", true], ["vol-3", true], ["vol-4", false], ["vol-5", true]],
  );
  for (const encrypted of ["yes", 1, null, {}]) {
    const { error } = await provider("volume.create", {
      ...{ volume_id: "vol-6", capacity_range: { required_bytes: MIB }, parameters: { encrypted } },
    });
    assertEquals(error.code, "invalid_argument", JSON.stringify(encrypted));
  }
  for (const id of [1, 2, 3, 4, 5]) {
    assertEquals((await ask("delete", { Volume: `vol-${id}` })).Error, "");
  }
  assertEquals((await provider("snapshot.delete", { snapshot_id: "snap-1" })).error, undefined);
  // The key itself is nowhere.
  const raw = "\xab".repeat(8);
  const told = JSON.stringify([Volumes, cluster.lines, cluster.bed.lines]);
  for (const text of ["abababab", btoa(raw), raw]) assert(!told.includes(text), told);
  assertEquals(cluster.lines, []);
});

Deno.test("encrypted volumes + without the key, or with another one + a code, and nothing is touched", async () => {
  await using cluster = await Cluster.start();
  const { bed } = cluster;
  const keyed = bed.node("keyed", { keyFile: keyFile(bed.folder, 1) });
  await keyed.create({ id: "vol-1", bytes: 64 * MIB, encrypted: true });
  await keyed.create({ id: "vol-2", bytes: 64 * MIB });
  const head = async () => (await bed.store.get("vol-1/head"))?.version;
  const before = await head();
  const keyless = /^volume vol-\d is encrypted, and node \w+ has no key: start it with --key-file$/;
  const wrong = /^volume vol-1: the key does not open it; give the key that it was created with/;
  for (
    const [node, parts, words] of [
      ["none", {}, keyless],
      ["other", { keyFile: keyFile(bed.folder, 2) }, wrong],
    ] as const
  ) {
    await cluster.node(node, parts);
    for (const Access of ["unix", "tcp", "block"]) {
      const wish = { VolumeId: "vol-1", NodeId: node, Access };
      const { Error: { Code, Message } } = await cluster.ask("ebs.attachvolume", wish);
      // Where there is no ublk, a block device fails before anybody looks at its key.
      if (Access === "block" && node === "other") continue;
      assertEquals(Code, "UnsupportedOperation", Message);
      assertMatch(Message, words);
    }
    const platform = await cluster.ask(`ebs.${node}.mount`, { Name: "vol-1" });
    assertEquals([platform.Code, platform.Mounted], ["unsupported_capability", false]);
    assertEquals((await cluster.ask(`ebs.${node}.mount`, { Name: "vol-2" })).Error, "");
    assertEquals((await cluster.ask(`ebs.${node}.unmount`, { Name: "vol-2" })).Error, "");
    if (node === "none") {
      const wish = { VolumeId: "vol-3", Size: 1, Encrypted: true };
      assertEquals(
        (await cluster.ask("ebs.createvolume", wish)).Error.Code,
        "UnsupportedOperation",
      );
    }
    const { Volumes } = await cluster.ask("ebs.describevolumes");
    const view = Volumes.map((
      one: Record<string, unknown>,
    ) => [one.VolumeId, one.Encrypted, one.State]);
    assertEquals(view, [["vol-1", true, "available"], ["vol-2", false, "available"]]);
  }
  assertEquals(await head(), before);
});

Deno.test("ublk-ebs serve + a key that is none, or not that of the others + one line", async () => {
  using scratch = new Scratch();
  const { path } = scratch;
  {
    await using store = await openStore(`${path}/store`, { create: true });
    await new NodeKey("first", store, { keyFile: keyFile(path, 1) }).check();
  }
  const serve = ["serve", "--node", "n", "--store", `${path}/store`, "--journal", `${path}/j`];
  Deno.writeFileSync(`${path}/short`, new Uint8Array(31).fill(1));
  const cases: readonly [string, number, RegExp][] = [
    [keyFile(path, 2), 1, /node n: its key is another one than that of .+; give theirs/],
    [`${path}/short`, 2, /short: it has 31 bytes; a key has 32; make one: head/],
    [`${path}/none`, 2, /none: it cannot be read: ENOENT; give the file with the key/],
    // The right one: it comes as far as to NATS.
    [keyFile(path, 1), 1, /connect to NATS at nats:\/\/127\.0\.0\.1:1/],
  ];
  for (const [file, code, message] of cases) {
    const args = [...serve, "--nats", "nats://127.0.0.1:1", "--key-file", file];
    assertOneLine(await runCommand("ublk-ebs", args), code, message);
  }
});
