/**
 * The shells, each with a way to ask it what it suggests at the end of a line: the shell itself
 * decides, with the script that a user would have.
 *
 * @module
 */

/** What makes a shell complete lines, as far as the tests need to know. */
export interface Shell {
  /** The program, its Debian package, and what `ublk completions` calls it. */
  readonly name: "bash" | "zsh" | "fish";
  /**
   * What is suggested at the end of each line, sorted.
   *
   * @param script The path of the completions.
   * @param cwd The folder whose files are suggested. The programs are in its `bin`.
   */
  suggest(script: string, lines: readonly string[], cwd: string): Promise<string[][]>;
}

/** All of them. */
export const SHELLS: readonly Shell[] = [
  { name: "bash", suggest: suggestInBash },
  { name: "zsh", suggest: suggestInZsh },
  { name: "fish", suggest: suggestInFish },
];

/** Stands after the suggestions for a line. */
const END = "--- end of line ---";

async function suggestInBash(script: string, lines: readonly string[], cwd: string) {
  const queries = lines.map((line) => {
    // As readline takes a line apart: "=" and ":" are words of their own (COMP_WORDBREAKS).
    const words = line.split(" ").flatMap((word) => word.split(/([=:])/)).filter((word, at, all) =>
      word !== "" || at === all.length - 1
    );
    return [
      `COMP_WORDS=(${words.map(quoted).join(" ")})`,
      `COMP_CWORD=${words.length - 1}`,
      `_ublk ${words[0]} ${quoted(words.at(-1)!)} ${quoted(words.at(-2)!)}`,
      'printf "%s\\n" "${COMPREPLY[@]}"',
      `echo ${quoted(END)}`,
    ].join("\n");
  });
  // Readline's own; there is none here.
  const setUp = `source ${quoted(script)}\ncompopt() { :; }\n`;
  return read(
    await output("bash", ["--norc", "--noprofile", "-c", setUp + queries.join("\n")], cwd),
  );
}

async function suggestInFish(script: string, lines: readonly string[], cwd: string) {
  const program = `source ${quoted(script)}
for line in $argv
    complete -C $line
    echo ${quoted(END)}
end`;
  return read(await output("fish", ["--no-config", "-c", program, ...lines], cwd));
}

/**
 * An interactive zsh in a pseudo-terminal (of zsh's own module for that) completes each line in its
 * editor, and `compadd`, by which every suggestion goes, writes down what matches.
 */
async function suggestInZsh(script: string, lines: readonly string[], cwd: string) {
  const home = await Deno.makeTempDir({ prefix: "ublk-zsh-" });
  try {
    await Deno.writeTextFile(`${home}/lines`, lines.map((line) => `${line}\n`).join(""));
    await Deno.writeTextFile(`${home}/.zshrc`, zshrc(home));
    await Deno.mkdir(`${home}/functions`);
    await Deno.copyFile(script, `${home}/functions/_ublk`);
    const terminal = `zmodload zsh/zpty
zpty shell ${quoted(`cd ${quoted(cwd)} && ZDOTDIR=${home} exec zsh -i`)}
while zpty -r shell line; do print -r -- $line; done`;
    const seen = await output("zsh", ["-f", "-c", terminal], cwd);
    try {
      return read(await Deno.readTextFile(`${home}/found`));
    } catch (error) {
      throw new Error(`zsh completed nothing; its terminal showed:\n${seen}`, { cause: error });
    }
  } finally {
    await Deno.remove(home, { recursive: true });
  }
}

function zshrc(home: string): string {
  return `
fpath=(${home}/functions $fpath)
autoload -Uz compinit && compinit -u -D
compadd() {
  local -a found
  if [[ \${@[1,(i)(-|--)]} == *-(O|A|D)\\ * ]]; then
    builtin compadd "$@"
  else
    builtin compadd -O found "$@"
    print -rl -- $found >>${home}/found
    builtin compadd "$@"
  fi
}
zle -C suggest list-choices _main_complete
all-lines() {
  local line
  for line in "\${(@f)$(<${home}/lines)}"; do
    BUFFER=$line CURSOR=$#line
    zle suggest
    print -r -- ${quoted(END)} >>${home}/found
  done
  BUFFER=exit
  zle accept-line
}
zle -N zle-line-init all-lines
`;
}

/** What was printed for each line, without what a shell adds: a help, a slash, the flag before "=". */
function read(printed: string): string[][] {
  return printed.split(`${END}\n`).slice(0, -1).map((text) => {
    const words = text.split("\n").map((line) =>
      line.split("\t")[0].trimEnd().replace(/[=/]$/, "").replace(/^--[a-z-]+=/, "")
    );
    return [...new Set(words.filter((word) => word !== ""))].sort();
  });
}

/** Runs a shell, which must be installed, and returns what it prints. */
export async function output(
  program: string,
  args: readonly string[],
  cwd?: string,
): Promise<string> {
  try {
    const { stdout } = await new Deno.Command(program, {
      args: [...args],
      cwd,
      env: {
        ...(cwd === undefined ? {} : { PATH: `${cwd}/bin:${Deno.env.get("PATH")}` }),
        ...{ HOME: "/nonexistent", TERM: "dumb", LC_ALL: "C.UTF-8" },
      },
      stdin: "null",
      stderr: "null",
      signal: AbortSignal.timeout(180_000),
    }).output();
    return new TextDecoder().decode(stdout);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    throw new Error(`there is no ${program}: run \`sudo apt-get install ${program}\``);
  }
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
