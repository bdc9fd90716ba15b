/** Which GPUs of a node a task gets: whole ones are the first free, a share goes where it leaves the least. Pure. */

/** The GPUs for `count` x `milli` as bits; 0 when there is no room. */
export function chooseGpus(free: Int16Array, count: number, milli: number): number {
  if (milli === 1000) {
    let bits = 0
    let found = 0
    for (let gpu = 0; gpu < free.length && found < count; gpu++)
      if (free[gpu] === 1000) {
        bits |= 1 << gpu
        found++
      }
    return found === count ? bits : 0
  }
  let best = -1
  for (let gpu = 0; gpu < free.length; gpu++) {
    const left = free[gpu] ?? 0
    if (left >= milli && (best < 0 || left < (free[best] ?? 0))) best = gpu
  }
  return best < 0 ? 0 : 1 << best
}

/** The numbers of the GPUs in bits. */
export function gpusOf(bits: number): number[] {
  return Array.from({ length: 32 - Math.clz32(bits) }, (_, gpu) => gpu).filter((gpu) => (bits & (1 << gpu)) !== 0)
}

/** Takes (1) or gives back (-1) thousandths of the GPUs in bits. */
export function moveGpus(free: Int16Array, bits: number, milli: number, direction: 1 | -1): void {
  for (let gpu = 0; gpu < free.length; gpu++)
    if ((bits & (1 << gpu)) !== 0) free[gpu] = (free[gpu] ?? 0) - direction * milli
}
