/**
 * The completions as a script for bash. It needs nothing but bash itself.
 *
 * @module
 */

import {
  type Place,
  programNames,
  type SuggestedFlag,
  type Suggestions,
} from "./completion_model.ts";

/** The script. */
export function bashScript(all: Suggestions): string {
  const { program, commands, disks, targets } = all;
  const lines = [...commands, ...disks];
  const names = commands.map(({ name }) => name);
  const owners = [
    { keys: [program], flags: all.flags },
    ...lines.map(({ name, flags }) => ({ keys: [name], flags })),
    ...targets.map(({ names, flags }) => ({ keys: names.map(targetKey), flags })),
  ];
  const withTarget = commands.filter(({ takesTarget }) => takesTarget).map(({ name }) => name);
  const withoutFiles = targets.filter(({ files }) => !files).flatMap(({ names }) => names);
  return `\
# Completion of ${programNames(all).join(", ")} for bash; made by \`ublk completions bash\`.

# The flags of a command, or those that a target adds.
_ublk_flags() {
  case $1 in
${cases(owners.map(({ keys, flags }) => [keys, `REPLY='${flags.flatMap(dashed).join(" ")}'`]))}
    *) REPLY= ;;
  esac
}

# What can follow a flag; fails where it takes nothing.
_ublk_value() {
  case $1 in
${cases(owners.flatMap(({ keys, flags }) => valueCases(keys, flags)))}
    *) return 1 ;;
  esac
  return 0
}

# What else can stand on a line.
_ublk_operand() {
  case $1 in
    '${program}') _ublk_words '${names.map((name) => name.split(" ")[1]).join(" ")}' ;;
${cases(lines.map(({ name, operand }) => [[name], suggest(operand)]))}
  esac
}

_ublk_words() {
  COMPREPLY+=($(compgen -W "$1" -- "$cur"))
}

_ublk_files() {
  local file
  while IFS= read -r file; do COMPREPLY+=("$file"); done < <(compgen -f -- "$cur")
  compopt -o filenames
}

_ublk_devices() {
  local node
  for node in /sys/class/ublk-char/ublkc*; do
    [[ -e $node ]] && _ublk_words "\${node##*/ublkc}"
  done
}

# The target that the line names before the cursor, as a key.
_ublk_target() {
  local at word
  REPLY=
  for ((at = 1; at < COMP_CWORD; at++)); do
    word=\${COMP_WORDS[at]}
    case $word in
      --) break ;;
      --module) REPLY=module ;;
      -t | --type)
        # "--type=mem" arrives in three words.
        [[ \${COMP_WORDS[at + 1]} == = ]] && ((at++))
        ((at + 1 < COMP_CWORD)) && REPLY=\${COMP_WORDS[at + 1]}
        ;;
      -t?*) REPLY=\${word#-t} ;;
    esac
  done
  [[ $REPLY == */* || $REPLY == *.[jt]s ]] && REPLY=module
  [[ -z $REPLY ]] || REPLY="target \${REPLY//_/-}"
}

_ublk() {
  local IFS=$' \\t\\n' REPLY= own target= command=\${1##*/}
  local cur=\${COMP_WORDS[COMP_CWORD]} flag=\${COMP_WORDS[COMP_CWORD - 1]}
  COMPREPLY=()
  if [[ $command == ${program} ]] && ((COMP_CWORD > 1)); then
    command="${program} \${COMP_WORDS[1]}"
    case $command in
${cases(names.filter(isSnake).map((name) => [[hyphened(name)], `command='${name}'`]), 6)}
    esac
  fi
  case $command in
${cases([[withTarget, "_ublk_target && target=$REPLY"]])}
  esac
  if [[ $cur == = ]]; then
    cur=
  elif [[ $flag == = ]]; then
    flag=\${COMP_WORDS[COMP_CWORD - 2]}
  fi
  flag=\${flag//_/-}
  if [[ $flag == -* ]] && { _ublk_value "$command $flag" || _ublk_value "$target $flag"; }; then
    return
  fi
  if [[ $cur == -* ]]; then
    _ublk_flags "$command"
    own=$REPLY
    _ublk_flags "$target"
    _ublk_words "$own $REPLY"
    return
  fi
  case $target in
${cases([[withoutFiles.map(targetKey), ":"]])}
    *) _ublk_operand "$command" ;;
  esac
}

complete -F _ublk ${programNames(all).join(" ")}`;
}

type Case = readonly [patterns: readonly string[], body: string];

function cases(list: readonly Case[], indent = 4): string {
  return list.map(([patterns, body]) =>
    `${" ".repeat(indent)}${patterns.map((pattern) => `'${pattern}'`).join(" | ")}) ${body} ;;`
  ).join("\n");
}

function valueCases(keys: readonly string[], flags: readonly SuggestedFlag[]): Case[] {
  return flags.flatMap((flag) =>
    flag.value === undefined ? [] : [[
      keys.flatMap((key) => dashed(flag).map((name) => `${key} ${name}`)),
      suggest(flag.value),
    ]]
  );
}

function suggest({ words, files, devices }: Place): string {
  return [
    words.length > 0 ? `_ublk_words '${words.map(({ text }) => text).join(" ")}'` : "",
    files ? "_ublk_files" : "",
    devices ? "_ublk_devices" : "",
  ].filter((part) => part !== "").join("; ") || ":";
}

function dashed({ name, short }: SuggestedFlag): string[] {
  return short === undefined ? [`--${name}`] : [`--${name}`, `-${short}`];
}

function targetKey(name: string): string {
  return `target ${name}`;
}

function isSnake(name: string): boolean {
  return name.includes("_");
}

function hyphened(name: string): string {
  return name.replaceAll("_", "-");
}
