/** Limits of the scheduler. What is larger is refused by name; nothing grows without one. */

/** Nodes at one time. */
export const nodesMax = 4_000_000
/** Tasks that wait or run. */
export const tasksMax = 16_000_000
/** Tasks of one job. */
export const countMax = 1_000_000
/** Jobs in one submission. */
export const submittedMax = 10_000
/** Accounts that have ever been named. */
export const accountsMax = 100_000
/** GPUs of one node. */
export const gpusMax = 16
/** Names of countable resources, over all nodes. */
export const countedNamesMax = 64
/** Zones, and separately racks, that have ever been named. */
export const domainsMax = 1_000_000
/** Ended jobs whose name and outcome are kept for dependencies. */
export const endedJobsMax = 10_000
/** Affinities, spreads, selectors, tolerations, dependencies and near nodes of one job, each. */
export const rulesMax = 64
/** Jobs that conservative backfilling plans ahead; those behind them wait without a promise. */
export const plannedJobsMax = 1_000
/** Nodes with room that are compared before one is taken (see buckets.ts). */
export const comparedMax = 96
/** Sets of victims on one node that are looked at before the search keeps the best that it has. */
export const victimSetsMax = 20_000
/** Bytes and bits per second: what a double counts exactly. */
export const amountMax: number = Number.MAX_SAFE_INTEGER
