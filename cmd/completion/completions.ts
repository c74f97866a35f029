/**
 * `ublk completions`: prints a script with which a shell completes the command lines of all
 * programs. The script asks the programs themselves (`complete.ts`), so new versions do not need a
 * new script.
 *
 * @module
 */

import { writeText } from "../program/print.ts";
import { EXIT_OK } from "../program/run.ts";
import { SHELLS } from "./complete.ts";
import { usageError } from "../line/flags.ts";
import { PROGRAMS as DISK_PROGRAMS } from "../line/program.ts";
import { misspelt } from "../program/misspelt.ts";

/** The programs with completions. */
export const PROGRAMS: readonly string[] = [
  ...[
    ...["ublk", ...DISK_PROGRAMS.map(({ name }) => name)],
    ...["ublk-ebs", "ublk-nbd", "ublk-volume"],
  ].sort(),
];

const NAMES = PROGRAMS.join(" ");

const about = (shell: string) =>
  `# Completes ${PROGRAMS.join(", ")} in ${shell}; made by \`ublk completions ${shell}\`.`;

const SCRIPTS: Readonly<Record<string, string>> = {
  bash: `\
${about("bash")}
_ublk() {
  local kind
  mapfile -t COMPREPLY < <("$1" __complete bash "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
  ((\${#COMPREPLY[@]})) || return
  kind=\${COMPREPLY[-1]}
  unset 'COMPREPLY[-1]'
  [[ $kind == *nospace* ]] && compopt -o nospace
  [[ $kind == *files* ]] || return
  compopt -o filenames
  mapfile -t -O \${#COMPREPLY[@]} COMPREPLY < <(compgen -f -- "\${2#[=:]}")
}
complete -F _ublk ${NAMES}`,
  zsh: `\
#compdef ${NAMES}
${about("zsh")}
_ublk() {
  local before=("\${(@)words[2,CURRENT-1]}")
  local answer=("\${(@f)$($words[1] __complete zsh "$before[@]" "$PREFIX" 2>/dev/null)}")
  local kind=$answer[-1] suffix=()
  answer[-1]=()
  [[ $kind == *nospace* ]] && suffix=(-S '')
  compset -P 1 '--*='
  (($#answer)) && _describe ublk answer $suffix
  [[ $kind == *files* ]] && _files
}
# In a file of fpath this is the body of the function itself; else it has been sourced.
if [[ $funcstack[1] == _ublk ]]; then _ublk "$@"; else compdef _ublk ${NAMES}; fi`,
  fish: `\
${about("fish")}
function __ublk_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l answer ($words[1] __complete fish $words[2..] "$current" 2>/dev/null)
    if string match -q '*files*' -- $answer[-1]
        set -l flag (string match -r '^--[^=]*=' -- $current)
        for path in (__fish_complete_path (string replace -- "$flag" '' $current))
            echo "$flag$path"
        end
    end
    set -e answer[-1]
    test (count $answer) -gt 0; and printf '%s\\n' $answer
end
${PROGRAMS.map((name) => `complete -c ${name} -f -a '(__ublk_complete)'`).join("\n")}`,
};

/**
 * Prints the script for a shell.
 *
 * @throws {UblkError} `INVALID_ARGUMENT` for a missing or unknown shell.
 */
export async function completions(words: readonly string[]): Promise<number> {
  const [shell, ...more] = words;
  const names = SHELLS.join(", ");
  if (shell === undefined) throw usageError("ublk completions", "it needs a shell", `use ${names}`);
  if (!Object.hasOwn(SCRIPTS, shell)) {
    const error = usageError(shell, "there are no completions for it", `use one of ${names}`);
    throw misspelt(error, shell, SHELLS);
  }
  if (more.length > 0) throw usageError(more[0], "unexpected argument", "name one shell");
  await writeText(SCRIPTS[shell]);
  return EXIT_OK;
}
