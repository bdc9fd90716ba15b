/** To whom the files of a part belong. Invariant: nothing is followed: a link is given away as a link. */
import { lchownSync, lstatSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { isUserOf } from './host-ids.ts'
import { mayChangeOwner } from './options.ts'

/**
 * Gives a directory to a user of this machine; where it belonged to another, as what comes from a backup of another machine may, with
 * all that it holds. Where there are several users inside, it may have passed on to one of them.
 */
export function giveTo(dir: string, uid: number, severalUsers: boolean = false): void {
  if (!mayChangeOwner()) return
  const owner = lstatSync(dir).uid
  if (severalUsers ? isUserOf(uid, owner) : owner === uid) return
  giveAll(dir, uid)
  // Last: what is cut off here is begun anew.
  lchownSync(dir, uid, uid)
}

function giveAll(dir: string, uid: number): void {
  for (const entry of readdirSync(dir, { withFileTypes: true })) {
    const path = join(dir, entry.name)
    if (entry.isDirectory()) giveAll(path, uid)
    lchownSync(path, uid, uid)
  }
}
