/** Exit codes, the same for every command. Shown by `stead help`. */

export const exitCodes = {
  ok: 0,
  /** It was tried and failed. */
  failed: 1,
  /** The command line is wrong. */
  usage: 2,
  /** The app does not run. */
  notRunning: 3,
  /** The app runs, or the machine works, but not all of it as it should. */
  degraded: 4,
} as const

export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes]
