/** The commands, events and errors of the Java Debug Wire Protocol that are used here, by their numbers. Pure. */
import type { JdwpReader } from './codec.ts'

/** Set and number of each command. */
export const commands = {
  'VirtualMachine.Version': [1, 1],
  'VirtualMachine.AllClasses': [1, 3],
  'VirtualMachine.AllThreads': [1, 4],
  'VirtualMachine.Dispose': [1, 6],
  'VirtualMachine.IDSizes': [1, 7],
  'VirtualMachine.Suspend': [1, 8],
  'VirtualMachine.Resume': [1, 9],
  'ReferenceType.Signature': [2, 1],
  'ReferenceType.Fields': [2, 4],
  'ReferenceType.Methods': [2, 5],
  'ReferenceType.GetValues': [2, 6],
  'ReferenceType.SourceFile': [2, 7],
  'ClassType.Superclass': [3, 1],
  'Method.LineTable': [6, 1],
  'Method.VariableTable': [6, 2],
  'ObjectReference.ReferenceType': [9, 1],
  'ObjectReference.GetValues': [9, 2],
  'ObjectReference.InvokeMethod': [9, 6],
  'StringReference.Value': [10, 1],
  'ThreadReference.Name': [11, 1],
  'ThreadReference.Frames': [11, 6],
  'ArrayReference.Length': [13, 1],
  'ArrayReference.GetValues': [13, 2],
  'EventRequest.Set': [15, 1],
  'EventRequest.Clear': [15, 2],
  'StackFrame.GetValues': [16, 1],
  'StackFrame.ThisObject': [16, 3],
} as const

export const eventKinds = { step: 1, breakpoint: 2, exception: 4, vmDeath: 99 } as const

export const suspendPolicy = { none: 0, all: 2 } as const

export const stepDepths = { stepIn: 0, next: 1, stepOut: 2 } as const

/** A step from line to line. */
export const stepSizeLine = 1

/** The kinds of what narrows a request for events down. */
export const modifiers = { count: 1, classExclude: 6, location: 7, exception: 8, step: 10 } as const

/** Errors that are told apart. */
export const faults = { absentInformation: 101, invalidThread: 10, threadNotSuspended: 13 } as const

const faultTexts: Readonly<Record<number, string>> = {
  10: 'the thread has ended, or is not stopped where this can be done',
  13: 'the thread is not stopped',
  20: 'the object has been collected',
  30: 'the frame is no more',
  35: 'there is no such variable here',
  40: 'that has been set already',
  101: 'it was built without this information (javac -g puts it in)',
  112: 'the machine is ending',
}

export function faultText(code: number): string {
  return faultTexts[code] ?? `error ${code} of the Java machine`
}

/** Where a thread stands: a method of a type, and an index into its code. */
export interface Place {
  readonly typeTag: number
  readonly type: bigint
  readonly method: bigint
  readonly index: bigint
}

export function placeIn(reader: JdwpReader): Place {
  return { typeTag: reader.byte(), type: reader.id(), method: reader.id(), index: reader.id() }
}

export interface JdwpEvent {
  readonly kind: number
  readonly requestId: number
  /** Null for what happens to the machine. */
  readonly thread: bigint | null
  /** What was thrown. */
  readonly exception: bigint | null
}

/** A packet of events, which stopped the machine for all of them once. Those after one that is not known are left out. */
export function eventsIn(reader: JdwpReader): { readonly stopped: boolean; readonly events: readonly JdwpEvent[] } {
  const stopped = reader.byte() !== suspendPolicy.none
  const events: JdwpEvent[] = []
  for (let left = reader.int(); left > 0; left--) {
    const kind = reader.byte()
    const requestId = reader.int()
    if (kind === eventKinds.vmDeath) {
      events.push({ kind, requestId, thread: null, exception: null })
      continue
    }
    if (kind !== eventKinds.step && kind !== eventKinds.breakpoint && kind !== eventKinds.exception) break
    const thread = reader.id()
    placeIn(reader)
    if (kind !== eventKinds.exception) {
      events.push({ kind, requestId, thread, exception: null })
      continue
    }
    reader.byte()
    const exception = reader.id()
    // Where it is caught.
    placeIn(reader)
    events.push({ kind, requestId, thread, exception })
  }
  return { stopped, events }
}
