/**
 * Commands for gdb that know the structures of a running kernel: its tasks, without the kernel's debug symbols. Pure.
 *
 * Invariant: offsets are those that the kernel itself tells; where it tells none, the command says so.
 */
import { memberOffsets } from './btf.ts'
import type { KernelSymbol } from './symbol-file.ts'

/** A file for `gdb -x`. */
export function gdbCommands(symbols: readonly KernelSymbol[], btf: Buffer): string {
  const first = symbols.find(({ name }) => name === 'init_task')?.address
  const offsets = memberOffsets(btf, { task_struct: ['tasks', 'pid', 'comm'] })
  const [tasks, pid, comm] = ['tasks', 'pid', 'comm'].map((member) => offsets[`task_struct.${member}`] ?? null)
  const settings = ['set architecture i386:x86-64', 'set pagination off', 'set confirm off']
  if (first === undefined || tasks === null || pid === null || comm === null)
    return [...settings, 'define tasks', '  echo this kernel does not tell its types\\n', 'end', ''].join('\n')
  return [
    ...settings,
    'define tasks',
    `  set $task = ${first}`,
    '  set $left = 10000',
    '  while $left > 0',
    `    printf "%6d  %s\\n", *(int *)($task + ${pid}), (char *)($task + ${comm})`,
    `    set $task = *(unsigned long *)($task + ${tasks}) - ${tasks}`,
    `    set $left = $task == ${first} ? 0 : $left - 1`,
    '  end',
    'end',
    'document tasks',
    'The tasks of the kernel: number and name.',
    'end',
    '',
  ].join('\n')
}
