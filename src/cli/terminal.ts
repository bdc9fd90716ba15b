/** Writing for people: colours only on a terminal, tables, durations, and steps with their times. */
import { styleText } from 'node:util'

type Style = Parameters<typeof styleText>[0]

/** Colours the text when the stream is a terminal and NO_COLOR is not set. */
export function paint(style: Style, text: string, stream: NodeJS.WriteStream = process.stdout): string {
  return stream.isTTY && process.env['NO_COLOR'] === undefined
    ? styleText(style, text, { validateStream: false })
    : text
}

export function print(text: string): void {
  process.stdout.write(`${text}\n`)
}

/** What is not the answer itself: progress, warnings. */
export function note(text: string): void {
  process.stderr.write(`${text}\n`)
}

/** Columns as wide as their widest cell, two spaces between; the last is not padded. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => plainLength(row[column] ?? ''))))
  const line = (row: readonly string[]): string =>
    row
      .map((cell, column) =>
        column === row.length - 1 ? cell : cell + ' '.repeat((widths[column] ?? 0) - plainLength(cell)),
      )
      .join('  ')
  return rows.map(line).join('\n')
}

function plainLength(text: string): number {
  // The escape character is what makes a colour sequence.
  // oxlint-disable-next-line no-control-regex
  return text.replace(/\u001b\[[0-9;]*m/g, '').length
}

/** `0.42 s`, `12 s`, `3 min`, `2 h`, `5 d`. */
export function duration(ms: number): string {
  const seconds = ms / 1000
  if (seconds < 10) return `${seconds.toFixed(2)} s`
  if (seconds < 120) return `${Math.round(seconds)} s`
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`
  if (seconds < 172_800) return `${Math.round(seconds / 3600)} h`
  return `${Math.round(seconds / 86_400)} d`
}

/** `38 MB`. */
export function megabytes(bytes: number): string {
  return `${Math.round(bytes / 1_000_000)} MB`
}

/** `15 B`, `3.2 kB`, `640 kB`, `1.5 GB`: three figures, for a person. */
export function size(bytes: number): string {
  const [unit, each] = (
    [
      ['GB', 1e9],
      ['MB', 1e6],
      ['kB', 1e3],
    ] as const
  ).find(([, least]) => bytes >= least) ?? ['B', 1]
  const count = bytes / each
  return `${each > 1 && count < 10 ? count.toFixed(1) : Math.round(count)} ${unit}`
}

/** Steps of a command, one line each when it is done, with the time it took; on a terminal also while it runs. */
export class Steps {
  readonly #json: boolean
  readonly #quiet: boolean

  /** `quiet`: nothing is printed, as nobody has asked. */
  constructor(json: boolean, quiet = false) {
    this.#json = json
    this.#quiet = quiet
  }

  /** Runs a step and prints its line. */
  async run<T>(name: string, work: (detail: (text: string) => void) => Promise<T>): Promise<T> {
    const startMs = performance.now()
    let detail = ''
    this.#begin(name)
    try {
      const result = await work((text) => (detail = text))
      this.done(name, performance.now() - startMs, detail)
      return result
    } catch (error) {
      this.#clear()
      if (this.#quiet) throw error
      if (this.#json) this.#event({ step: name, state: 'failed' })
      else note(`${paint('red', '✗', process.stderr)} ${name}  ${duration(performance.now() - startMs)}`)
      throw error
    }
  }

  /** Prints the line of a step that somebody else has timed. */
  done(name: string, tookMs: number, detail = ''): void {
    if (this.#quiet) return
    this.#clear()
    if (this.#json) return this.#event({ step: name, state: 'done', tookMs: Math.round(tookMs), detail })
    const more = detail === '' ? '' : paint('dim', `  ${detail}`, process.stderr)
    note(`${paint('green', '✓', process.stderr)} ${name}  ${paint('dim', duration(tookMs), process.stderr)}${more}`)
  }

  /** Prints the line of a step that somebody else has timed, and that went wrong. */
  failed(name: string, tookMs: number, detail: string): void {
    if (this.#quiet) return
    this.#clear()
    if (this.#json) return this.#event({ step: name, state: 'failed', tookMs: Math.round(tookMs), detail })
    const more = paint('dim', `  ${detail}`, process.stderr)
    note(`${paint('red', '✗', process.stderr)} ${name}  ${paint('dim', duration(tookMs), process.stderr)}${more}`)
  }

  /** Something that happened meanwhile. */
  say(text: string): void {
    if (this.#quiet) return
    this.#clear()
    if (this.#json) this.#event({ note: text })
    else note(text)
  }

  #begin(name: string): void {
    if (!this.#json && !this.#quiet && process.stderr.isTTY)
      process.stderr.write(`  ${paint('dim', `${name} …`, process.stderr)}`)
  }

  #clear(): void {
    if (!this.#json && !this.#quiet && process.stderr.isTTY) process.stderr.write('\r\u001b[2K')
  }

  #event(event: Record<string, unknown>): void {
    process.stdout.write(`${JSON.stringify(event)}\n`)
  }
}
