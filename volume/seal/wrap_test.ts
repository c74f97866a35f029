import { assert, assertEquals, assertThrows } from "@std/assert";
import { UblkError } from "../../uapi/error.ts";
import { openAllOfLibc } from "../../uring/libc.ts";
import { decodeKey, encodeKey } from "../format/key.ts";
import { FormatError } from "../format/record.ts";
import { openCipher } from "./gcm.ts";
import { readKey } from "./key_source.ts";
import { derivedKey, VolumeKey } from "./volume_key.ts";
import { SCRYPT_COST, unwrapKey, wrapKey, wrappingKey } from "./wrap.ts";

// They stay open for the life of the process, which is no leak of the test that comes first.
openAllOfLibc();
openCipher();

const VOLUME = "0123456789abcdef0123456789abcdef";
const encoder = new TextEncoder();
const counted = (length: number, from = 0) => Uint8Array.from({ length }, (_, nth) => from + nth);

Deno.test("derivedKey + the known answer of RFC 5869, test case 1", () => {
  const key = derivedKey(new Uint8Array(22).fill(0x0b), counted(13), counted(10, 0xf0));
  assertEquals(key.toHex(), "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf");
});

Deno.test("wrappingKey + the known answer of RFC 7914 for scrypt", () => {
  const kept = { bytes: encoder.encode("pleaseletmein"), isPassphrase: true };
  const key = wrappingKey(kept, encoder.encode("SodiumChloride"), { log2N: 14, r: 8, p: 1 });
  assertEquals(key.toHex(), "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2");
});

// The answers were computed with Python's cryptography, from the format's page.
Deno.test("wrapKey + known answers for a key and a passphrase", () => {
  const data = new VolumeKey(counted(32, 1));
  const salt = counted(32, 100);
  const [byKey, byPassphrase] = [
    { bytes: counted(32, 50), isPassphrase: false },
    { bytes: encoder.encode("correct horse"), isPassphrase: true },
  ].map((kept) => {
    const record = wrapKey(data, VOLUME, kept, salt);
    assertEquals(unwrapKey(record, kept)!.use((bytes) => bytes.slice()), counted(32, 1));
    return record.sealed.toHex() + record.tag.toHex();
  });
  assertEquals(
    byKey,
    "b4941644d1696e6b2f279eef81d010ae032a8d10a351513ab1ca0fb66eadfe01d64312402b94e8f24f1960de702db2ec",
  );
  assertEquals(
    byPassphrase,
    "df557684bdd566602b1cc2f80e4b701ffd56c3944e5527527c85c270eaa6f810f7d4e3a6d4b82b8592a1e4e0991d62ba",
  );
});

Deno.test("unwrapKey + no other key, passphrase, kind, volume or cost opens it", () => {
  const kept = { bytes: counted(32, 50), isPassphrase: false };
  const record = wrapKey(VolumeKey.random(), VOLUME, kept);
  assert(unwrapKey(decodeKey(encodeKey(record), VOLUME), kept) !== undefined);
  assertEquals(unwrapKey(record, { bytes: counted(32, 51), isPassphrase: false }), undefined);
  assertEquals(unwrapKey(record, { ...kept, isPassphrase: true }), undefined);
  assertEquals(unwrapKey({ ...record, volume: VOLUME.replace("0", "1") }, kept), undefined);
  assertEquals(unwrapKey({ ...record, cost: SCRYPT_COST }, kept), undefined);
  const two = [1, 2].map(() => wrapKey(new VolumeKey(counted(32)), VOLUME, kept).sealed.toHex());
  assert(two[0] !== two[1], "each has a salt of its own");
});

Deno.test("decodeKey + costs that would use up the memory are refused", () => {
  const kept = { bytes: counted(32), isPassphrase: false };
  const record = wrapKey(VolumeKey.random(), VOLUME, kept);
  for (
    const cost of [{ log2N: 21, r: 8, p: 1 }, { log2N: 17, r: 9, p: 1 }, { log2N: 0, r: 8, p: 1 }]
  ) {
    assertThrows(() => decodeKey(encodeKey({ ...record, cost })), FormatError, "out of bounds");
  }
});

Deno.test("readKey + 32 bytes or a passphrase without its newline; anything else is one line", () => {
  const folder = Deno.makeTempDirSync();
  try {
    const path = `${folder}/key`;
    const read = (bytes: Uint8Array<ArrayBuffer>, kind: "keyFile" | "passphraseFile") => {
      Deno.writeFileSync(path, bytes);
      return readKey(kind === "keyFile" ? { keyFile: path } : { passphraseFile: path });
    };
    assertEquals(read(counted(32), "keyFile").bytes, counted(32));
    for (const text of ["a b", "a b\n"]) {
      const { bytes, isPassphrase } = read(encoder.encode(text), "passphraseFile");
      assertEquals([new TextDecoder().decode(bytes), isPassphrase], ["a b", true]);
    }
    const refused = (call: () => unknown, words: string) => {
      const error = assertThrows(call, UblkError, words);
      assertEquals([error.code, error.message.includes("\n")], ["INVALID_ARGUMENT", false]);
    };
    refused(() => read(counted(31), "keyFile"), "it has 31 bytes; a key has 32");
    refused(() => read(counted(33), "keyFile"), "more than 32 bytes");
    refused(() => read(encoder.encode("\n"), "passphraseFile"), "it has no passphrase");
    refused(() => read(new Uint8Array(1025).fill(65), "passphraseFile"), "too long");
    refused(() => readKey({ keyFile: `${folder}/none` }), "ENOENT");
    refused(() => readKey(counted(16)), "it has 16 bytes");
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
});
