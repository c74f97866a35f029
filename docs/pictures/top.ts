/**
 * Draws `top.svg`, the picture of `ublk top` in the README: three disks under load, and the screen of
 * a terminal as tmux holds it. Run it as root where there are ublk, tmux and fio, for instance in a guest:
 *
 * ```text
 * deno run -A vm/main.ts run --kernel 7.2 -- deno run -A --no-check docs/pictures/top.ts > top.svg
 * mv top.svg docs/pictures/ && deno fmt docs/pictures/top.svg
 * ```
 *
 * @module
 */

import config from "../../deno.json" with { type: "json" };

const ROOT = new URL("../..", import.meta.url).pathname;
const UBLK = [Deno.execPath(), "run", "-A", "--no-check", ROOT + config.exports["./ublk"]];
const [COLUMNS, ROWS] = [72, 12];
/** The disks and fio take a while to warm up in an emulated machine. */
const WARM_UP_MS = 60_000;

async function run(...[program, ...args]: string[]): Promise<string> {
  const { code, stdout, stderr } = await new Deno.Command(program, { args, stdin: "null" })
    .output();
  const text = new TextDecoder();
  if (code !== 0) throw new Error(`${program} ${args.join(" ")}: ${text.decode(stderr)}`);
  return text.decode(stdout);
}

/** Adds a disk, and returns its path. */
async function add(...args: string[]): Promise<string> {
  const { path } = JSON.parse(await run(...UBLK, "add", "--json", ...args));
  return path;
}

function load(disk: string, rw: string, iodepth: number): Deno.ChildProcess {
  const args = ["--name=load", `--filename=${disk}`, "--direct=1", `--rw=${rw}`, "--bs=4k"];
  args.push("--ioengine=libaio", `--iodepth=${iodepth}`, "--time_based", "--runtime=600");
  return new Deno.Command("fio", { args, stdin: "null", stdout: "null", stderr: "null" }).spawn();
}

/** The screen of `ublk top`, line by line. */
async function screen(): Promise<string[]> {
  const size = ["-x", `${COLUMNS}`, "-y", `${ROWS}`];
  await run("tmux", "-L", "top", "new-session", "-d", ...size, [...UBLK, "top"].join(" "));
  await new Promise((resolve) => setTimeout(resolve, WARM_UP_MS));
  const text = await run("tmux", "-L", "top", "capture-pane", "-p");
  await run("tmux", "-L", "top", "kill-server");
  return text.trimEnd().split("\n");
}

const ESCAPES: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;" };

/** Lines of text as a picture of a terminal. */
function svg(lines: readonly string[]): string {
  const [line, margin] = [20, 16];
  const [width, height] = [COLUMNS * 8.43 + 2 * margin, lines.length * line + 2 * margin];
  const rows = lines.map((text, at) =>
    `  <text fill="#d8dee9" x="${margin}" y="${margin + (at + 0.75) * line}">${
      text.replaceAll(/[&<>]/g, (one) => ESCAPES[one])
    }</text>`
  );
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" xml:space="preserve" viewBox="0 0 ${
      Math.ceil(width)
    } ${height}" ` +
    `font-family="ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace" font-size="14">`,
    `  <title>ublk top</title>`,
    `  <rect width="100%" height="100%" rx="8" fill="#1e222a"/>`,
    ...rows,
    `</svg>`,
  ].join("\n");
}

const folder = await Deno.makeTempDir();
const loads: Deno.ChildProcess[] = [];
try {
  await run("truncate", "-s", "256M", `${folder}/disk.img`);
  loads.push(load(await add("-t", "mem", "--size", "256M"), "randread", 16));
  loads.push(load(await add("-t", "loop", `${folder}/disk.img`), "randrw", 8));
  loads.push(load(await add("-t", "null", "--size", "1T"), "randwrite", 4));
  console.log(svg(await screen()));
} finally {
  for (const each of loads) {
    each.kill("SIGKILL");
    await each.status;
  }
  await run(...UBLK, "del", "--force", "-a");
  await Deno.remove(folder, { recursive: true });
}
