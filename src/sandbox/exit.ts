/**
 * How a kept exit status becomes an explained exit. Pure.
 *
 * Invariant: never claims more than is known. Shells and bubblewrap report a signal as 128 + its number, so a program
 * that itself ends with such a code is told as the signal; a status that nobody kept is `unknown`.
 */
import type { Exit, SandboxLimits } from './driver.ts'

/** What the limit group saw while the program ran. */
export interface Evidence {
  /** Processes killed for memory. */
  readonly oomKills: number
  /** Forks refused because of the limit of processes. */
  readonly forksRefused: number
}

const signalNames: Readonly<Record<number, string>> = {
  1: 'SIGHUP',
  2: 'SIGINT',
  3: 'SIGQUIT',
  4: 'SIGILL',
  5: 'SIGTRAP',
  6: 'SIGABRT',
  7: 'SIGBUS',
  8: 'SIGFPE',
  9: 'SIGKILL',
  10: 'SIGUSR1',
  11: 'SIGSEGV',
  12: 'SIGUSR2',
  13: 'SIGPIPE',
  14: 'SIGALRM',
  15: 'SIGTERM',
  24: 'SIGXCPU',
  25: 'SIGXFSZ',
  31: 'SIGSYS',
}

/** What a person needs beside the bare code or signal. */
const meanings: Readonly<Record<string, string>> = {
  SIGSYS: 'it used a system call that ends a program: of a foreign architecture, or one to escape with',
  SIGSEGV: 'it touched memory that is not its own',
  SIGABRT: 'it gave up by itself',
  126: 'the program cannot be executed',
  127: 'the program was not found inside',
}

/** Explains a status as shells report it; null when it was not kept. */
export function explainExit(status: number | null, evidence: Evidence, limits: SandboxLimits): Exit {
  if (status === null) {
    const sentence = 'ended, but how is not known: the process that keeps the exit was killed as well'
    return { cause: 'unknown', code: null, signal: null, sentence }
  }
  const signal = status > 128 ? (signalNames[status - 128] ?? null) : null
  if (signal === 'SIGKILL' && evidence.oomKills > 0) {
    const sentence = `killed: it reached its memory limit of ${megabytes(limits.memoryBytes)}`
    return { cause: 'memory', code: null, signal, sentence }
  }
  const meaning = meanings[signal ?? status]
  const sentence = [
    signal === null ? `ended with code ${status}` : `ended by signal ${signal}`,
    meaning === undefined ? '' : `: ${meaning}`,
    evidence.oomKills > 0
      ? `; its memory limit of ${megabytes(limits.memoryBytes)} was reached and ${evidence.oomKills} of its processes were killed`
      : '',
    evidence.forksRefused > 0
      ? `; it was refused a new process ${evidence.forksRefused} times (limit ${limits.pidsMax})`
      : '',
  ].join('')
  return signal === null
    ? { cause: 'code', code: status, signal: null, sentence }
    : { cause: 'signal', code: null, signal, sentence }
}

/** The exit of a program that was running when the machine went down. */
export const exitByRestart: Exit = {
  cause: 'unknown',
  code: null,
  signal: null,
  sentence: 'ended when the machine was restarted',
}

/** The exit of a program whose supervisor died before it was let go. */
export const exitNeverStarted: Exit = {
  cause: 'unknown',
  code: null,
  signal: null,
  sentence: 'never ran: its supervisor died while it was being started',
}

function megabytes(bytes: number | null): string {
  if (bytes === null) return 'the machine'
  return bytes % 1_000_000 === 0 ? `${bytes / 1_000_000} MB` : `${Math.round(bytes / 2 ** 20)} MiB`
}
