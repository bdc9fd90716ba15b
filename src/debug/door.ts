/**
 * The door that a prepared program keeps: a signal that it listens to, and the directory in which it then looks for what it is
 * to run. Pure.
 */

/** The directory that the preparation names ends so: it says that a process was prepared. */
export const hookDirectory: string = 'stead-debug'

/** The signal that opens the door: SIGRTMIN+6, which nobody else is known to use. */
export const doorSignal: number = 40

/** Where a process looks for what it is to run, as it sees it. */
export function roomOf(innerPid: number): string {
  return `/tmp/.stead-debug-${innerPid}`
}

/** Whether a process handles the signal: one that does not would end by it. */
export function handlesDoor({ caughtSignals }: { readonly caughtSignals: bigint }): boolean {
  return (caughtSignals & (1n << BigInt(doorSignal - 1))) !== 0n
}
