/** Limits of submitted jobs. What is larger is refused by name. */

/** Jobs that have not ended, and jobs in all that are remembered; the oldest that have ended are forgotten with their output. */
export const unendedJobsMax = 100_000
export const endedJobsMax = 10_000
/** Tasks of one array, and of one gang. */
export const arrayTasksMax = 100_000
export const gangTasksMax = 4096
/** Bytes of a script, and of program, arguments and variables together. */
export const scriptBytesMax: number = 60 * 1024
export const wordsBytesMax: number = 64 * 1024
/** Paths that a job reads, and those that it writes. */
export const pathsMax = 32
export const dependenciesMax = 64
/** Conditions on the labels of nodes. */
export const selectorMax = 64
export const retriesMax = 100
/** Attempts of a task, requeues included. */
export const attemptsMax = 250
export const queuesMax = 100
/** Accounts with limits, reservations, and nodes of one. */
export const accountsMax = 1000
export const reservationsMax = 100
export const reservedNodesMax = 1000
/** Accounts whose use of the past is kept: those with the largest. */
export const accountsKeptMax = 1000
/** What waits to be applied; more is refused. */
export const waitingMax = 100_000
/** A node that is silent for so long is lost, and what ran there runs elsewhere. */
export const nodeLostMs = 300_000
/** Between the request to end and the kill. */
export const graceMs = 10_000
export const limitGraceMs = 30_000
