/** The commands, by name. Loaded when used: a command needs a few of the rooms, and processes that stay should hold no more. */
import type { Command } from './command.ts'

export const commands: Readonly<Record<string, () => Promise<Command>>> = {
  up: async () => (await import('./commands/up.ts')).upCommand,
  status: async () => (await import('./commands/status.ts')).statusCommand,
  logs: async () => (await import('./commands/logs.ts')).logsCommand,
  graph: async () => (await import('./commands/graph.ts')).graphCommand,
  dashboard: async () => (await import('./commands/dashboard.ts')).dashboardCommand,
  stop: async () => (await import('./commands/order.ts')).stopCommand,
  start: async () => (await import('./commands/order.ts')).startCommand,
  restart: async () => (await import('./commands/order.ts')).restartCommand,
  jobs: async () => (await import('./commands/jobs.ts')).jobsCommand,
  run: async () => (await import('./commands/run.ts')).runCommand,
  exec: async () => (await import('./commands/exec.ts')).execCommand,
  forward: async () => (await import('./commands/forward.ts')).forwardCommand,
  disk: async () => (await import('./commands/disk.ts')).diskCommand,
  prune: async () => (await import('./commands/prune.ts')).pruneCommand,
  secret: async () => (await import('./commands/secret.ts')).secretCommand,
  down: async () => (await import('./commands/down.ts')).downCommand,
  serve: async () => (await import('./commands/serve.ts')).serveCommand,
  deploy: async () => (await import('./commands/deploy.ts')).deployCommand,
  releases: async () => (await import('./commands/releases.ts')).releasesCommand,
  diff: async () => (await import('./commands/diff.ts')).diffCommand,
  rollback: async () => (await import('./commands/rollback.ts')).rollbackCommand,
  checkpoint: async () => (await import('./commands/checkpoint.ts')).checkpointCommand,
  branch: async () => (await import('./commands/branch.ts')).branchCommand,
  restore: async () => (await import('./commands/restore.ts')).restoreCommand,
  backup: async () => (await import('./commands/backup.ts')).backupCommand,
  replay: async () => (await import('./commands/replay.ts')).replayCommand,
  access: async () => (await import('./commands/access.ts')).accessCommand,
  audit: async () => (await import('./commands/audit.ts')).auditCommand,
  incidents: async () => (await import('./commands/incidents.ts')).incidentsCommand,
  check: async () => (await import('./commands/check.ts')).checkCommand,
  uptime: async () => (await import('./commands/uptime.ts')).uptimeCommand,
  versions: async () => (await import('./commands/versions.ts')).versionsCommand,
  prices: async () => (await import('./commands/prices.ts')).pricesCommand,
  doctor: async () => (await import('./commands/doctor.ts')).doctorCommand,
  completion: async () => (await import('./commands/completion.ts')).completionCommand,
  complete: async () => (await import('./commands/complete.ts')).completeCommand,
}

/** Not for people: asked by what another command prints. */
export const unlisted: ReadonlySet<string> = new Set(['complete'])
