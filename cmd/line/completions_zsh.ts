/**
 * The completions as a script for zsh: a file for its `fpath`, or to be sourced.
 *
 * @module
 */

import {
  type Place,
  programNames,
  type SuggestedCommand,
  type SuggestedFlag,
  type Suggestions,
  type Word,
} from "./completion_model.ts";

/** The script. */
export function zshScript(all: Suggestions): string {
  const { program, commands, disks, targets } = all;
  const names = programNames(all);
  const lines = [...commands, ...disks];
  return `\
#compdef ${names.join(" ")}
# Completion of ${names.join(", ")} for zsh; made by \`ublk completions zsh\`.

${[...described(lines.flatMap(({ flags }) => flags))].map(wordsFunction).join("\n\n")}

_ublk_commands() {
  local -a commands=(
${commands.map((command) => `    ${quoted(describedWord(commandWord(command)))}`).join("\n")}
  )
  _describe command commands
}

_ublk_devices() {
  local expl
  local -a devices=(/sys/class/ublk-char/ublkc*(N:t))
  _wanted devices expl device compadd -- \${devices#ublkc}
}

# Adds what the target has that the line names.
_ublk_target() {
  local name= at
  for ((at = 2; at < CURRENT; at++)); do
    case $words[at] in
      (--) break ;;
      (--module|--module=*) name=module ;;
      (-t|--type) ((at + 1 < CURRENT)) && name=$words[at+1] ;;
      (--type=*) name=\${words[at]#--type=} ;;
      (-t?*) name=\${words[at]#-t} ;;
    esac
  done
  [[ $name == */* || $name == *.[jt]s ]] && name=module
  case \${name//_/-} in
${
    targets.map(({ names, flags, files }) =>
      `    (${names.join("|")})\n${specs(flags.flatMap(flagSpecs))}${
        files ? "" : "\n      operand=()"
      } ;;`
    ).join("\n")
  }
  esac
}

_ublk() {
  local command=$service
  local -a specs operand
  if [[ $service == ${program} ]]; then
    if ((CURRENT == 2)); then
      if [[ $PREFIX == -* ]]; then
${specs(all.flags.flatMap(flagSpecs))}
        _arguments -s -S : $specs
      else
        _ublk_commands
      fi
      return
    fi
    command="${program} $words[2]"
    shift words
    ((CURRENT--))
  fi
  case $command in
${lines.map(commandCase).join("\n")}
  esac
  _arguments -s -S : $specs $operand
}

# In a file of fpath this is the body of the function itself; else it has been sourced.
if [[ $funcstack[1] == _ublk ]]; then
  _ublk "$@"
else
  compdef _ublk ${names.join(" ")}
fi`;
}

/** The flags whose values have a help of their own, once each. */
function described(flags: readonly SuggestedFlag[]): Map<string, Place> {
  const found = new Map<string, Place>();
  for (const { name, value } of flags) {
    if (value !== undefined && hasHelp(value)) found.set(name, value);
  }
  return found;
}

function hasHelp({ words }: Place): boolean {
  return words.some(({ help }) => help !== "");
}

function wordsFunction([name, { placeholder, words, files }]: [string, Place]): string {
  return [
    `_ublk_${name}() {`,
    "  local -a words=(",
    ...words.map((word) => `    ${quoted(describedWord(word))}`),
    "  )",
    `  _describe ${placeholder} words`,
    ...(files ? ["  _files"] : []),
    "}",
  ].join("\n");
}

function commandCase({ name, flags, operand, takesTarget }: SuggestedCommand): string {
  // In the name of a command _ and - are the same.
  const names = new Set([name, name.replaceAll("_", "-")]);
  return [
    `    (${[...names].map((one) => `'${one}'`).join("|")})`,
    specs(flags.flatMap(flagSpecs)),
    ...(operand.placeholder === "" ? [] : [
      `      operand=(${quoted(`*:${operand.placeholder}:${action(operand)}`)})`,
    ]),
    ...(takesTarget ? ["      _ublk_target"] : []),
    "      ;;",
  ].join("\n");
}

function specs(list: readonly string[]): string {
  return ["      specs+=(", ...list.map((spec) => `        ${quoted(spec)}`), "      )"].join("\n");
}

/** A flag for `_arguments`: what excludes it, its name, its help, its value. */
function flagSpecs({ name, short, help, repeated, value }: SuggestedFlag): string[] {
  const forms = [`--${name}`, ...(short === undefined ? [] : [`-${short}`])];
  const before = repeated ? "*" : `(${forms.join(" ")})`;
  const after = value === undefined ? "" : `:${value.placeholder}:${action(value, name)}`;
  return forms.map((form) => {
    const joined = value === undefined ? "" : form.startsWith("--") ? "=" : "+";
    return `${before}${form}${joined}[${escaped(help, /[\\\[\]:]/g)}]${after}`;
  });
}

/** What makes `_arguments` suggest something; the function of a flag's words has its name. */
function action(place: Place, name?: string): string {
  const { words, files, devices } = place;
  if (name !== undefined && hasHelp(place)) return `_ublk_${name}`;
  if (words.length > 0) return `(${words.map(({ text }) => text).join(" ")})`;
  if (devices) return "_ublk_devices";
  return files ? "_files" : " ";
}

function commandWord({ name, help }: SuggestedCommand): Word {
  return { text: name.split(" ")[1], help };
}

function describedWord({ text, help }: Word): string {
  return `${escaped(text, /[\\:]/g)}:${escaped(help, /\\/g)}`;
}

function escaped(text: string, what: RegExp): string {
  return text.replaceAll(what, "\\$&");
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
