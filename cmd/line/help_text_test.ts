import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { openAllOfLibc } from "../../uring/libc.ts";
import { COMMON, GROUPS } from "./add_groups.ts";
import { servingSyntax, TARGET_EXAMPLES } from "./add_help.ts";
import { ADD_FLAGS, parseAdd } from "./add_line.ts";
import {
  COMMAND_GROUPS,
  COMMANDS,
  EXAMPLES,
  findCommand,
  FOREIGN_NAMES,
  syntaxOf,
} from "./commands.ts";
import { AS_KUBLK } from "./args.ts";
import { asksFor, parseLine, spreadLetters, type Syntax, wantsAll } from "./flags.ts";
import { helpText, overviewText } from "./help.ts";
import { ownArguments } from "./kublk_line.ts";
import { parseRecover } from "./recover_line.ts";
import { ownSpelling } from "./spellings.ts";
import { ALL as TARGETS } from "./targets.ts";
import { wrapped } from "./wrap_text.ts";

// Opened once, before any test, because the sanitizer would report a leak.
openAllOfLibc();

const WIDTHS = [60, 80, 100];

/** Every help text, at the requested width. */
async function* helps(width: number): AsyncGenerator<[what: string, text: string]> {
  yield ["ublk", overviewText("ublk", "serve", COMMAND_GROUPS, EXAMPLES, width)];
  for (const command of COMMANDS) {
    const syntax = await syntaxOf(command, []);
    yield [command.name, helpText(syntax, false, width)];
    yield [`${command.name} all`, helpText(syntax, true, width)];
  }
}

Deno.test("helpText() + a width + no line is longer, and no word is broken", async () => {
  for (const width of WIDTHS) {
    for await (const [what, text] of helps(width)) {
      // A target's notes are laid out for the terminal, whose width differs.
      const [own] = text.split("\n\nTargets");
      for (const line of own.split("\n")) {
        // A single word, such as a long flag or a literal example, may fill a line.
        const isWord = line.trim().split(" ").length <= 2 || /^ {2}(ublk|source) /.test(line);
        assert(line.length <= width || isWord, `${what} at ${width}: ${line}`);
        assert(!/ $/.test(line), `${what}: ${line}`);
      }
    }
  }
});

Deno.test("wrapped() + a text + has all its words, in lines that begin where they are told", () => {
  const text = "one two three `four five` six sevenseveneightnine ten";
  assertEquals(
    wrapped(text, 14, "  "),
    [
      "one two three",
      "  `four five`",
      "  six",
      "  sevenseveneightnine",
      "  ten",
    ].join("\n"),
  );
  assertEquals(wrapped("a\nb  c", 80), "a b c");
  assertEquals(wrapped("one two", 10, "    ", 4), "one\n    two");
  assertEquals([wrapped("aaa bbb", 7), wrapped("aaa bbb", 6)], ["aaa bbb", "aaa\nbbb"]);
  assertEquals(wrapped("", 80), "");
  // An unpaired backquote.
  assertEquals(wrapped("a ` b", 80), "a ` b");
});

Deno.test("servingSyntax() + the ten common flags + are in the short help, the others in groups", async () => {
  const names = ADD_FLAGS.map(({ name }) => name as string);
  assertEquals(COMMON.length, 10);
  const grouped = GROUPS.flatMap((group) => group.names);
  for (const name of [...COMMON, ...grouped]) assert(names.includes(name), `there is no --${name}`);
  assertEquals(new Set([...COMMON, ...grouped]).size, COMMON.length + grouped.length, "once each");
  const syntax = { name: "ublk add", summary: "", ...await servingSyntax("add", []) } as Syntax;
  const [short, all] = [false, true].map((full) => helpText(syntax, full, 80));
  for (const name of names) {
    assertEquals(
      short.includes(`--${name} `) || short.includes(`--${name}\n`),
      COMMON.includes(name),
      name,
    );
    assertStringIncludes(all, `--${name}`);
  }
  assertStringIncludes(short, "`ublk add --help=all` has all other options");
  // Flags in no group are shown as well.
  const more = {
    ...syntax,
    flags: [...ADD_FLAGS, { name: "new", kind: "switch", help: "" }],
  } as Syntax;
  assertStringIncludes(helpText(more, true, 80), "\nOther options:\n      --new");
});

Deno.test("servingSyntax() + a target + its own options come first", async () => {
  for (const { name, options } of TARGETS) {
    const { own, examples } = await servingSyntax("add", [name]);
    assertEquals(own?.flags.map((flag) => flag.name), options.map((option) => option.name));
    assertEquals(examples, [TARGET_EXAMPLES[name]], name);
  }
});

Deno.test("examples + of every command + are lines that it takes", async () => {
  const record = {
    id: 0,
    program: "ublk",
    target: "loop",
    argv: ["-t", "loop", "disk.img"],
    cwd: "/",
    pid: 1,
    startTicks: 1,
    log: null,
    socket: null,
  };
  for (const command of COMMANDS) {
    const { examples = [] } = await syntaxOf(command, []);
    assert(examples.length > 0, `ublk ${command.name} has no example`);
    for (
      const line of [...examples, ...command.name === "add" ? Object.values(TARGET_EXAMPLES) : []]
    ) {
      const [name, ...args] = line.replace(/^source <\((.*)\)$/, "$1").split(" ").slice(1);
      assertEquals(findCommand(name), command, line);
      if (name === "kublk") {
        await parseAdd("ublk add", ownArguments("add", [AS_KUBLK, ...args.slice(1)]), "/");
      } else if (name === "add") {
        if (!line.includes(".ts")) await parseAdd("ublk add", ownSpelling(name, args), "/");
      } else if (name === "recover") {
        await parseRecover(ownSpelling(name, args), () => Promise.resolve(record), "/");
      } else {
        const { flags = [], words } = command;
        parseLine(flags, args, { seeHelp: line, unknown: line, words });
      }
    }
  }
});

Deno.test("findCommand() + names, other names + find the command; foreign names are none of ours", () => {
  for (const [typed, name] of [["ls", "list"], ["rm", "del"], ["delete", "del"]]) {
    assertEquals(findCommand(typed)?.name, name);
  }
  assertEquals(findCommand("update-size")?.name, "update_size");
  for (const [foreign, own] of Object.entries(FOREIGN_NAMES)) {
    assertEquals([findCommand(foreign), findCommand(own)?.name], [undefined, own]);
  }
});

Deno.test("asksFor() + --help=all, -V + are wishes too", () => {
  assertEquals(asksFor(["x", "--help=all"]), "help");
  assertEquals([wantsAll(["--help=all"]), wantsAll(["--help"])], [true, false]);
  assertEquals(asksFor(["-V"]), "version");
  assertEquals(asksFor(["--", "-V"]), undefined);
  assertEquals(spreadLetters(ADD_FLAGS, ["-vV"]), ["-vV"]);
});

Deno.test("parseLine() + words that are values + fill their flags in order", () => {
  const flags = COMMANDS.find(({ name }) => name === "update_size")!.flags!;
  const remedies = { seeHelp: "", unknown: "", words: ["id", "size"] };
  const read = (...args: string[]) => {
    const { values, words } = parseLine(flags, args, remedies);
    return { ...values as Record<string, unknown>, words };
  };
  const expected = { id: 3, size: 1 << 30, words: [] };
  assertEquals(read("3", "1G"), expected);
  assertEquals(read("-n", "3", "1G"), expected);
  assertEquals(read("-s1G", "/dev/ublkb3"), expected);
  assertEquals(read("--id=ublkb3", "--size", "1G", "x"), { ...expected, words: ["x"] });
  const several = COMMANDS.find(({ name }) => name === "stop")!;
  const { values } = parseLine(several.flags!, ["0", "-n", "2", "/dev/ublkc1"], {
    ...remedies,
    words: several.words,
  });
  assertEquals((values as Record<string, unknown>).id, [2, 0, 1]);
});
