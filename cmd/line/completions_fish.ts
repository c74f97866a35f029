/**
 * The completions as a script for fish.
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
export function fishScript(all: Suggestions): string {
  const { program, commands, disks, targets } = all;
  const withTarget = commands.filter(({ takesTarget }) => takesTarget).map(subcommand);
  const withoutFiles = targets.filter(({ files }) => !files).flatMap(({ names }) => names);
  return [
    `# Completion of ${programNames(all).join(", ")} for fish; made by \`ublk completions fish\`.`,
    FUNCTIONS,
    ...programNames(all).map((name) => `complete -c ${name} -f`),
    "",
    ...all.flags.map((flag) => flagLine(program, "__ublk_command", flag)),
    ...commands.map((command) =>
      `complete -c ${program} -n __ublk_command -a ${subcommand(command)} -d ${
        quoted(command.help)
      }`
    ),
    ...commands.flatMap((command) => {
      const here = `__ublk_command ${subcommand(command)}`;
      const takesFiles = command.takesTarget
        ? `${here}; and not __ublk_target ${withoutFiles.join(" ")}`
        : here;
      return ["", ...commandLines(program, here, takesFiles, command)];
    }),
    ...targets.flatMap(({ names, flags }) => {
      const where = `__ublk_command ${withTarget.join(" ")}; and __ublk_target ${names.join(" ")}`;
      return ["", ...flags.map((flag) => flagLine(program, where, flag))];
    }),
    ...disks.flatMap((disk) => ["", ...commandLines(disk.name, undefined, undefined, disk)]),
  ].join("\n");
}

const FUNCTIONS = `
# Whether the line is that of one of these commands; of none, whether it has none yet.
function __ublk_command
    set -l words (commandline -opc)
    if test (count $argv) -eq 0
        test (count $words) -eq 1
    else
        test (count $words) -gt 1
        and contains -- (string replace -a _ - -- $words[2]) (string replace -a _ - -- $argv)
    end
end

# Whether the target that the line names is one of these.
function __ublk_target
    set -l name
    set -l words (commandline -opc)
    for at in (seq 2 (count $words))
        switch $words[$at]
            case --
                break
            case --module '--module=*'
                set name module
            case -t --type
                set name $words[(math $at + 1)]
            case '--type=*'
                set name (string replace -- --type= '' $words[$at])
            case '-t*'
                set name (string sub -s 3 -- $words[$at])
        end
    end
    string match -qr '/|\\.[jt]s$' -- $name
    and set name module
    contains -- (string replace -a _ - -- $name) $argv
end

function __ublk_devices
    for node in /sys/class/ublk-char/ublkc*
        string replace -r '.*/ublkc' '' -- $node
    end
end

function __ublk_words
    printf '%s\\t%s\\n' $argv
end
`;

/** What can stand on the line of a command. */
function commandLines(
  program: string,
  where: string | undefined,
  takesFiles: string | undefined,
  { flags, operand }: SuggestedCommand,
): string[] {
  const lines = flags.map((flag) => flagLine(program, where, flag));
  const texts = operand.words.map(({ text }) => text).join(" ");
  if (texts !== "") lines.push(`${start(program, where)} -a ${quoted(texts)}`);
  if (operand.files) lines.push(`${start(program, takesFiles)} -F`);
  return lines;
}

function flagLine(
  program: string,
  where: string | undefined,
  { name, short, help, value }: SuggestedFlag,
): string {
  return [
    start(program, where),
    ...(short === undefined ? [] : [`-s ${short}`]),
    `-l ${name}`,
    ...(value === undefined ? [] : valueParts(value)),
    `-d ${quoted(help)}`,
  ].join(" ");
}

function start(program: string, where: string | undefined): string {
  return `complete -c ${program}${where === undefined ? "" : ` -n ${quoted(where)}`}`;
}

/** A value is required; files only where they make sense. */
function valueParts({ words, files, devices }: Place): string[] {
  const given = words.some(({ help }) => help !== "")
    ? `(__ublk_words ${words.map(pair).join(" ")})`
    : devices
    ? "(__ublk_devices)"
    : words.map(({ text }) => text).join(" ");
  return [files ? "-r -F" : "-x", ...(given === "" ? [] : [`-a ${quoted(given)}`])];
}

function pair({ text, help }: Word): string {
  return `${text} ${quoted(help)}`;
}

function subcommand({ name }: SuggestedCommand): string {
  return name.split(" ")[1];
}

function quoted(text: string): string {
  return `'${text.replaceAll(/[\\']/g, "\\$&")}'`;
}
