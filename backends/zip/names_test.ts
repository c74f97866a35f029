import { assert, assertEquals } from "@std/assert";
import { folded, pathParts, possibleName, uniqueNames, withShortNames } from "./names.ts";

function shorts(...names: string[]): string[] {
  return withShortNames(names).map(({ short }) => new TextDecoder().decode(short));
}

Deno.test("possibleName cuts a long name before its extension, and no letter in two", () => {
  for (let before = 240; before < 260; before++) {
    for (const end of ["", ".tar", `.${"e".repeat(300)}`]) {
      const name = possibleName(`${"x".repeat(before)}😀😀😀${end}`);
      assert(name.length <= 255);
      assert(name.isWellFormed(), `${before} ${end}`);
      if (end === ".tar") assert(name.endsWith(".tar"));
    }
  }
  assertEquals(possibleName("plain.txt"), "plain.txt");
});

Deno.test("pathParts leave no way out", () => {
  assertEquals(pathParts("../../a/./b//c"), ["a", "b", "c"]);
  assertEquals(pathParts("/etc/passwd"), ["etc", "passwd"]);
  assertEquals(pathParts("../.."), []);
});

Deno.test("withShortNames makes short names that nobody else has, also as a long one", () => {
  assertEquals(shorts("README.TXT", "A", "B.C"), ["README  TXT", "A          ", "B       C  "]);
  assertEquals(shorts("readme.txt"), ["README~1TXT"]);
  assertEquals(shorts("LONGNA~1.TXT", "longname.text"), ["LONGNA~1TXT", "LONGNA~1TEX"]);
  assertEquals(shorts("long name 1.txt", "long name 2.txt"), ["LONGNA~1TXT", "LONGNA~2TXT"]);
  assertEquals(shorts("longna~1.txt", "longname1.txt"), ["LONGNA~2TXT", "LONGNA~3TXT"]);
  assertEquals(shorts(".profile", "ü.md", "a b"), ["PROFIL~1   ", "_~1     MD ", "AB~1       "]);
  const many = shorts(...Array.from({ length: 20_000 }, (_, index) => `file number ${index}`));
  assertEquals(new Set(many).size, 20_000);
});

Deno.test("uniqueNames numbers all but the first of names that FAT takes for the same", () => {
  const longs = uniqueNames(["A.b", "a.B", "a.b", "x".repeat(255), "X".repeat(255)]);
  assertEquals(longs, ["A.b", "a (2).B", "a (3).b", "x".repeat(255), `${"X".repeat(251)} (2)`]);
});

Deno.test("uniqueNames makes up no name that a member has", () => {
  // The number was once given where it came, and `a (2).txt` itself became `a (2) (2).txt`.
  const wanted = ["a.txt", "A.txt", "a.TXT", "A (2).txt", "a (4).txt"];
  assertEquals(uniqueNames(wanted), ["a.txt", "A (3).txt", "a (5).TXT", "A (2).txt", "a (4).txt"]);
});

Deno.test("uniqueNames numbers as many as a folder holds, also of names that differ where they are cut", () => {
  const names = Array.from({ length: 15_000 }, (_, index) => `${"x".repeat(248)}${index}`);
  const all = [...names, ...names, ...Array.from({ length: 15_000 }, () => "same.txt")];
  const unique = uniqueNames(all);
  assertEquals(new Set(unique.map(folded)).size, all.length);
  assert(unique.every((name) => name.length <= 255));
});

Deno.test("folded compares unit by unit, with one unit of upper case", () => {
  const same = (a: string, b: string) => assertEquals(folded(a), folded(b), `${a} ${b}`);
  const differ = (a: string, b: string) => assert(folded(a) !== folded(b), `${a} ${b}`);
  same("Straße", "STRAßE");
  same("ä", "Ä");
  same("я", "Я");
  same("ᾳ", "ᾼ");
  // Full case mapping makes two letters of these.
  differ("ß", "ss");
  differ("ß", "s");
  differ("ﬁ", "fi");
  differ("ŉ", "ʼn");
  // Pairs of surrogates have no case for FAT.
  differ("𐐨", "𐐀");
});
