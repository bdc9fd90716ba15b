/**
 * The first program inside a guest, in Perl, which is essential on Debian and lies in the first root of the guest with the
 * few libraries it needs: nothing is compiled on a user's machine, and a guest needs no program of its own for it.
 *
 * It loads the kernel's modules, lays out the root that its configuration asks for, and runs the program in namespaces of its
 * own under limits and filter; one process carries the output away; it itself answers the supervisor on a channel (frames of
 * `channel.ts`) and tells the exit on another. Run as `init` by the kernel; numbers of system calls are those of x86_64.
 *
 * Invariants: the program never runs without its user, limits and filter; its exit is told before the machine goes down; what
 * a supervisor had run inside ends when its channel closes.
 */
import { program, start } from './init/program.ts'
import { relay } from './init/relay.ts'
import { serve } from './init/serve.ts'
import { hardware, rooms, tools, world } from './init/world.ts'

export const guestInit: string = [tools, world, rooms, hardware, program, start, serve, relay].join('\n')
