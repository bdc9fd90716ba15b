/**
 * Runs bpftrace, where the kernel and the machine have what it needs. Invariant: it ends by its time or with whoever asked, and
 * is never given the right to run other programs (`--unsafe`).
 */
import { spawn } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import type { Readable } from 'node:stream'
import { refused } from '../refusals.ts'
import { findOnPath } from './tools.ts'

export interface Traced {
  /** What it says, and what went wrong. */
  readonly output: Readable
  readonly errors: Readable
  /** Its exit code; null when it was ended. */
  readonly ended: Promise<number | null>
  /** Asks it to end and to say what it has. */
  end(): void
  kill(): void
}

const tracingDirs = ['/sys/kernel/tracing', '/sys/kernel/debug/tracing']

/** Starts it. `needs`: the tracepoints that the kernel must have. Throws `debug.refused`, naming what is missing. */
export function openTrace(program: string, needs: readonly string[]): Traced {
  const missing = missingForTrace(needs)
  if (missing !== null) throw refused(missing.reason, missing.hint)
  const path = findOnPath('bpftrace') ?? 'bpftrace'
  const child = spawn(path, ['-q', '-e', program], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: process.env['PATH'] ?? '' },
  })
  const ended = Promise.withResolvers<number | null>()
  child.on('error', ended.reject)
  child.on('close', (code) => ended.resolve(code))
  return {
    output: child.stdout,
    errors: child.stderr,
    ended: ended.promise,
    end: () => void child.kill('SIGINT'),
    kill: () => void child.kill('SIGKILL'),
  }
}

interface Missing {
  readonly reason: string
  readonly hint: string
}

/** What this machine lacks; null when it lacks nothing. */
export function missingForTrace(needs: readonly string[]): Missing | null {
  if (process.getuid?.() !== 0)
    return { reason: 'only root may trace a kernel', hint: 'Run the platform, or this command, as root.' }
  // The switch is there exactly where the kernel has the system call.
  if (!existsSync('/proc/sys/kernel/unprivileged_bpf_disabled')) {
    return {
      reason: 'this kernel was built without BPF (CONFIG_BPF_SYSCALL)',
      hint: 'Kernels of distributions have it; `stead debug --kernel PART` needs none for a part on a kernel of its own.',
    }
  }
  if (findOnPath('bpftrace') === null)
    return { reason: 'this machine has no bpftrace', hint: 'Install it: `apt-get install bpftrace`.' }
  const events = eventsKnown()
  if (events === null) {
    return {
      reason: 'the file system of tracepoints is not mounted (tracefs)',
      hint: 'Mount it: `mount -t tracefs tracefs /sys/kernel/tracing`.',
    }
  }
  const lacking = needs.filter((name) => !events.has(name))
  if (lacking.length === 0) return null
  return {
    reason: `this kernel has no tracepoint ${lacking.join(', ')}`,
    hint: 'It is too old, or was built without it. `bpftrace -l` lists what it has.',
  }
}

/** The tracepoints of this kernel; null when they cannot be seen. */
function eventsKnown(): ReadonlySet<string> | null {
  for (const dir of tracingDirs) {
    try {
      return new Set(readFileSync(`${dir}/available_events`, 'utf8').split('\n'))
    } catch {
      // Not mounted there.
    }
  }
  return null
}
