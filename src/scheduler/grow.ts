/**
 * Columns that grow. Invariant: the memory of the shorter column is given back at once, not when the collector comes: with
 * a million rows what waits for it would be as much again. Whoever still holds the old column finds it empty.
 */

/** A longer column of numbers; what is new is -1. */
export function grownNumbers(old: Int32Array<ArrayBuffer>, length: number): Int32Array<ArrayBuffer> {
  const from = old.length
  return new Int32Array(old.buffer.transfer(length * Int32Array.BYTES_PER_ELEMENT)).fill(-1, from)
}

/** A longer column of amounts; what is new is 0. */
export function grownFloats(old: Float64Array<ArrayBuffer>, length: number): Float64Array<ArrayBuffer> {
  return new Float64Array(old.buffer.transfer(length * Float64Array.BYTES_PER_ELEMENT))
}

/** Gives the memory of a column back that nobody reads any more. */
export function release(column: Int32Array<ArrayBuffer>): void {
  column.buffer.transfer(0)
}
