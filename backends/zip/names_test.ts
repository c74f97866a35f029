import { assert, assertEquals } from "@std/assert";
import { namesOf, pathParts, possibleName } from "./names.ts";

function shorts(...names: string[]): string[] {
  return namesOf(names).map(({ short }) => new TextDecoder().decode(short));
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
  assertEquals(pathParts("C:\\Windows\\..\\x"), ["C_", "Windows", "x"]);
  assertEquals(pathParts("..\\..\\.."), []);
});

Deno.test("namesOf makes short names that nobody else has, also as a long one", () => {
  assertEquals(shorts("README.TXT", "A", "B.C"), ["README  TXT", "A          ", "B       C  "]);
  assertEquals(shorts("readme.txt"), ["README~1TXT"]);
  assertEquals(shorts("LONGNA~1.TXT", "longname.text"), ["LONGNA~1TXT", "LONGNA~1TEX"]);
  assertEquals(shorts("long name 1.txt", "long name 2.txt"), ["LONGNA~1TXT", "LONGNA~2TXT"]);
  assertEquals(shorts("longna~1.txt", "longname1.txt"), ["LONGNA~2TXT", "LONGNA~3TXT"]);
  assertEquals(shorts(".profile", "ü.md", "a b"), ["PROFIL~1   ", "_~1     MD ", "AB~1       "]);
  const many = shorts(...Array.from({ length: 20_000 }, (_, index) => `file number ${index}`));
  assertEquals(new Set(many).size, 20_000);
});

Deno.test("namesOf numbers all but the first of names that FAT takes for the same", () => {
  const longs = namesOf(["A.b", "a.B", "a.b", "a (2).B", "x".repeat(255), "X".repeat(255)])
    .map(({ long }) => long);
  assertEquals(longs.slice(0, 4), ["A.b", "a (2).B", "a (3).b", "a (2) (2).B"]);
  assertEquals(longs[5], `${"X".repeat(251)} (2)`);
});
