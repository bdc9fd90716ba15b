/**
 * Programs for bpftrace that have been read and tried: each sees what the kernel of a machine does, for all that runs on it, without
 * a stop. Pure: texts. Invariant: what one prints is counts, times and sizes, with names of processes and addresses of peers, and
 * nothing of what programs say to each other.
 */

export interface KernelTrace {
  readonly name: string
  /** What it shows, for a person. */
  readonly summary: string
  readonly program: string
  /** Tracepoints that the kernel must have, as it names them. */
  readonly needs: readonly string[]
  /** What it costs whatever runs. */
  readonly cost: string
}

export const kernelTraces: readonly KernelTrace[] = [
  {
    name: 'tcp-rtt',
    summary: 'round-trip times and congestion windows of all TCP streams',
    program: `tracepoint:tcp:tcp_probe { @round_trip_microseconds = hist(args->srtt); @congestion_window_segments = lhist(args->snd_cwnd, 0, 100, 10); }`,
    needs: ['tcp:tcp_probe'],
    cost: 'some microseconds for each segment that is received',
  },
  {
    name: 'tcp-retransmits',
    summary: 'to which ports TCP had to send again',
    program: `tracepoint:tcp:tcp_retransmit_skb { @sent_again_to_port[args->dport] = count(); }`,
    needs: ['tcp:tcp_retransmit_skb'],
    cost: 'nothing but where something is sent again',
  },
  {
    name: 'run-queue',
    summary: 'how long what could run waited for a processor',
    program: `tracepoint:sched:sched_wakeup, tracepoint:sched:sched_wakeup_new { @since[args->pid] = nsecs; }
tracepoint:sched:sched_switch { if (args->prev_state == 0) { @since[args->prev_pid] = nsecs; } $from = @since[args->next_pid]; if ($from) { @waited_microseconds = hist((nsecs - $from) / 1000); delete(@since[args->next_pid]); } }
END { clear(@since); }`,
    needs: ['sched:sched_wakeup', 'sched:sched_wakeup_new', 'sched:sched_switch'],
    cost: 'some microseconds for each change of a processor from one thread to another',
  },
  {
    name: 'disk',
    summary: 'how long disks took, for reading and writing',
    program: `tracepoint:block:block_rq_issue { @since[args->dev, args->sector] = nsecs; }
tracepoint:block:block_rq_complete /@since[args->dev, args->sector]/ { @microseconds[args->rwbs] = hist((nsecs - @since[args->dev, args->sector]) / 1000); delete(@since[args->dev, args->sector]); }
END { clear(@since); }`,
    needs: ['block:block_rq_issue', 'block:block_rq_complete'],
    cost: 'some microseconds for each request to a disk',
  },
  {
    name: 'syscalls',
    summary: 'how many system calls each process made, by part',
    program: `tracepoint:raw_syscalls:sys_enter { @calls[pid, comm] = count(); }`,
    needs: ['raw_syscalls:sys_enter'],
    cost: 'a fraction of a microsecond for each system call',
  },
]

/** A line that counts by process, with the part that the process belongs to where that is known. */
export function withPart(line: string, partOf: (pid: number) => string | null): string {
  const [, pid, name, count] = /^@calls\[(\d+), (.+)\]: (\d+)$/.exec(line) ?? []
  if (pid === undefined) return line
  return `${(count ?? '').padStart(9)}  ${partOf(Number(pid)) ?? '(no part)'}  ${name} (process ${pid})`
}

/** A program that ends after so long. */
export function endingAfter(program: string, durationMs: number): string {
  return `${program}\ninterval:ms:${Math.max(1, Math.round(durationMs))} { exit(); }\n`
}
