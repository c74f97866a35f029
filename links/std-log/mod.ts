/**
 * Local stand-in for `jsr:@std/log@0.224`, with the part of its API that this repository uses.
 * std dropped the package from its tree, so npm's `deno-std` has no copy to re-export and this is
 * written from its documentation. Never published.
 *
 * @module
 */

/** The numeric levels. */
export const LogLevels = {
  NOTSET: 0,
  DEBUG: 10,
  INFO: 20,
  WARN: 30,
  ERROR: 40,
  CRITICAL: 50,
} as const;

/** A level's name. */
export type LevelName = keyof typeof LogLevels;
/** A level's number. */
export type LogLevel = typeof LogLevels[LevelName];
/** The names of the levels, lowest first. */
export const LogLevelNames: LevelName[] = Object.keys(LogLevels) as LevelName[];

/** The number of a level's name. */
export function getLevelByName(name: LevelName): LogLevel {
  const level = LogLevels[name];
  if (level === undefined) throw new Error(`Cannot get log level: no level named ${name}`);
  return level;
}

/** The name of a level's number. */
export function getLevelName(level: LogLevel): LevelName {
  const name = LogLevelNames.find((name) => LogLevels[name] === level);
  if (name === undefined) throw new Error(`Cannot get log level: no name for level ${level}`);
  return name;
}

/** What a `LogRecord` is made from. */
export interface LogRecordOptions {
  msg: string;
  args: unknown[];
  level: LogLevel;
  loggerName: string;
}

/** One message on its way to the handlers. */
export class LogRecord {
  readonly msg: string;
  readonly level: LogLevel;
  readonly levelName: LevelName;
  readonly loggerName: string;
  readonly #args: unknown[];
  readonly #datetime = new Date();

  constructor(options: LogRecordOptions) {
    this.msg = options.msg;
    this.#args = [...options.args];
    this.level = options.level;
    this.levelName = getLevelName(options.level);
    this.loggerName = options.loggerName;
  }

  get args(): unknown[] {
    return [...this.#args];
  }

  get datetime(): Date {
    return new Date(this.#datetime.getTime());
  }
}

/** Turns a record into a line. */
export type FormatterFunction = (logRecord: LogRecord) => string;

/** The options of every handler. */
export interface BaseHandlerOptions {
  formatter?: FormatterFunction;
}

/** A handler: subclasses say where a formatted line goes. */
export abstract class BaseHandler {
  formatter: FormatterFunction;
  #levelName: LevelName;
  #level: LogLevel;

  constructor(levelName: LevelName, options: BaseHandlerOptions = {}) {
    this.#levelName = levelName;
    this.#level = getLevelByName(levelName);
    this.formatter = options.formatter ?? (({ levelName, msg }) => `${levelName} ${msg}`);
  }

  get level(): LogLevel {
    return this.#level;
  }

  set level(level: LogLevel) {
    this.#level = level;
    this.#levelName = getLevelName(level);
  }

  get levelName(): LevelName {
    return this.#levelName;
  }

  set levelName(levelName: LevelName) {
    this.#levelName = levelName;
    this.#level = getLevelByName(levelName);
  }

  handle(logRecord: LogRecord): void {
    if (this.level > logRecord.level) return;
    this.log(this.format(logRecord));
  }

  format(logRecord: LogRecord): string {
    return this.formatter(logRecord);
  }

  abstract log(msg: string): void;

  setup(): void {}

  destroy(): void {}

  [Symbol.dispose](): void {
    this.destroy();
  }
}

/** The options of a `ConsoleHandler`. */
export interface ConsoleHandlerOptions extends BaseHandlerOptions {
  useColors?: boolean;
}

/** Writes to the console's log, which is STDOUT; override `log` for STDERR. */
export class ConsoleHandler extends BaseHandler {
  // The real one colours whole lines by default; that is not worth repeating here.
  constructor(levelName: LevelName, options: ConsoleHandlerOptions = {}) {
    super(levelName, options);
  }

  override log(msg: string): void {
    console.log(msg);
  }
}

/** A message, or what makes one once it is known that somebody wants it. */
type Message<T> = T extends () => unknown ? never : T | (() => T);

/** The options of a `Logger`. */
export interface LoggerOptions {
  handlers?: BaseHandler[];
}

/** Hands messages at or above its level to its handlers. */
export class Logger {
  handlers: BaseHandler[];
  #level: LogLevel;
  readonly #loggerName: string;

  constructor(loggerName: string, levelName: LevelName, options: LoggerOptions = {}) {
    this.#loggerName = loggerName;
    this.#level = getLevelByName(levelName);
    this.handlers = options.handlers ?? [];
  }

  get level(): LogLevel {
    return this.#level;
  }

  set level(level: LogLevel) {
    this.#level = level;
  }

  get levelName(): LevelName {
    return getLevelName(this.#level);
  }

  set levelName(levelName: LevelName) {
    this.#level = getLevelByName(levelName);
  }

  get loggerName(): string {
    return this.#loggerName;
  }

  #log<T>(level: LogLevel, msg: Message<T>, args: unknown[]): T | undefined {
    if (this.level > level) return msg instanceof Function ? undefined : msg as T;
    const result = (msg instanceof Function ? msg() : msg) as T;
    const record = new LogRecord({
      msg: this.asString(result),
      args,
      level,
      loggerName: this.loggerName,
    });
    for (const handler of this.handlers) handler.handle(record);
    return result;
  }

  asString(data: unknown): string {
    if (typeof data === "string") return data;
    if (data instanceof Error) return data.stack ?? String(data);
    if (typeof data === "object" && data !== null) return JSON.stringify(data);
    return String(data);
  }

  debug<T>(msg: Message<T>, ...args: unknown[]): T | undefined {
    return this.#log(LogLevels.DEBUG, msg, args);
  }

  info<T>(msg: Message<T>, ...args: unknown[]): T | undefined {
    return this.#log(LogLevels.INFO, msg, args);
  }

  warn<T>(msg: Message<T>, ...args: unknown[]): T | undefined {
    return this.#log(LogLevels.WARN, msg, args);
  }

  error<T>(msg: Message<T>, ...args: unknown[]): T | undefined {
    return this.#log(LogLevels.ERROR, msg, args);
  }

  critical<T>(msg: Message<T>, ...args: unknown[]): T | undefined {
    return this.#log(LogLevels.CRITICAL, msg, args);
  }
}

/** One logger's level and the names of its handlers. */
export interface LoggerConfig {
  level?: LevelName;
  handlers?: string[];
}

/** What `setup` takes: handlers and loggers by name. */
export interface LogConfig {
  handlers?: Record<string, BaseHandler>;
  loggers?: Record<string, LoggerConfig>;
}

const handlers = new Map<string, BaseHandler>();
const loggers = new Map<string, Logger>();

/** Replaces the configuration of all loggers. */
export function setup(config: LogConfig): void {
  for (const handler of handlers.values()) handler.destroy();
  handlers.clear();
  loggers.clear();
  const all = { default: new ConsoleHandler("INFO"), ...config.handlers };
  for (const [name, handler] of Object.entries(all)) {
    handler.setup();
    handlers.set(name, handler);
  }
  for (const [name, logger] of Object.entries(config.loggers ?? {})) {
    const chosen = (logger.handlers ?? []).flatMap((name) => handlers.get(name) ?? []);
    loggers.set(name, new Logger(name, logger.level ?? "INFO", { handlers: chosen }));
  }
}

/** The logger of that name; one that was not set up is silent. */
export function getLogger(name = "default"): Logger {
  let logger = loggers.get(name);
  if (logger === undefined) {
    const handlers = name === "default" ? [new ConsoleHandler("INFO")] : [];
    logger = new Logger(name, name === "default" ? "INFO" : "NOTSET", { handlers });
    loggers.set(name, logger);
  }
  return logger;
}
