import { assert, assertEquals } from "@std/assert";
import { folded, pathParts, uniqueNames, validName, withShortNames } from "./names.ts";

function shorts(...names: string[]): string[] {
  return withShortNames(names).map(({ short }) => new TextDecoder().decode(short));
}

Deno.test("validName cuts a long name before its extension, and splits no surrogate pair", () => {
  for (let before = 240; before < 260; before++) {
    for (const end of ["", ".tar", `.${"e".repeat(300)}`]) {
      const name = validName(`${"x".repeat(before)}😀😀😀${end}`);
      assert(name.length <= 255);
      assert(name.isWellFormed(), `${before} ${end}`);
      if (end === ".tar") assert(name.endsWith(".tar"));
    }
  }
  assertEquals(validName("plain.txt"), "plain.txt");
});

Deno.test("pathParts omits parts that lead out of the archive", () => {
  assertEquals(pathParts("../../a/./b//c"), ["a", "b", "c"]);
  assertEquals(pathParts("/etc/passwd"), ["etc", "passwd"]);
  assertEquals(pathParts("../.."), []);
});

Deno.test("withShortNames makes short names that differ from all other short and long names", () => {
  assertEquals(shorts("README.TXT", "A", "B.C"), ["README  TXT", "A          ", "B       C  "]);
  assertEquals(shorts("readme.txt"), ["README~1TXT"]);
  assertEquals(shorts("LONGNA~1.TXT", "longname.text"), ["LONGNA~1TXT", "LONGNA~1TEX"]);
  assertEquals(shorts("long name 1.txt", "long name 2.txt"), ["LONGNA~1TXT", "LONGNA~2TXT"]);
  assertEquals(shorts("longna~1.txt", "longname1.txt"), ["LONGNA~2TXT", "LONGNA~3TXT"]);
  assertEquals(shorts(".profile", "ü.md", "a b"), ["PROFIL~1   ", "_~1     MD ", "AB~1       "]);
  const many = shorts(...Array.from({ length: 20_000 }, (_, index) => `file number ${index}`));
  assertEquals(new Set(many).size, 20_000);
});

Deno.test("uniqueNames numbers all but the first of names that FAT considers equal", () => {
  const longs = uniqueNames(["A.b", "a.B", "a.b", "x".repeat(255), "X".repeat(255)]);
  assertEquals(longs, ["A.b", "a (2).B", "a (3).b", "x".repeat(255), `${"X".repeat(251)} (2)`]);
});

Deno.test("uniqueNames avoids the names of other members", () => {
  // Once the number was assigned at once, so a later `a (2).txt` became `a (2) (2).txt`.
  const wanted = ["a.txt", "A.txt", "a.TXT", "A (2).txt", "a (4).txt"];
  assertEquals(uniqueNames(wanted), ["a.txt", "A (3).txt", "a (5).TXT", "A (2).txt", "a (4).txt"]);
});

Deno.test("uniqueNames numbers a full folder quickly, even if names differ only where they are cut", () => {
  const names = Array.from({ length: 15_000 }, (_, index) => `${"x".repeat(248)}${index}`);
  const all = [...names, ...names, ...Array.from({ length: 15_000 }, () => "same.txt")];
  const unique = uniqueNames(all);
  assertEquals(new Set(unique.map(folded)).size, all.length);
  assert(unique.every((name) => name.length <= 255));
});

Deno.test("folded compares unit by unit, with upper case of one unit", () => {
  const same = (a: string, b: string) => assertEquals(folded(a), folded(b), `${a} ${b}`);
  const differ = (a: string, b: string) => assert(folded(a) !== folded(b), `${a} ${b}`);
  same("Straße", "STRAßE");
  same("ä", "Ä");
  same("я", "Я");
  same("ᾳ", "ᾼ");
  // Full case mapping turns each of these into two letters.
  differ("ß", "ss");
  differ("ß", "s");
  differ("ﬁ", "fi");
  differ("ŉ", "ʼn");
  // Surrogate pairs have no case in FAT.
  differ("𐐨", "𐐀");
});
