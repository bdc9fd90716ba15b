/** The part of the Chrome DevTools Protocol, as Node speaks it, that is used here. Types only. */

export interface RemoteObject {
  readonly type: string
  readonly subtype?: string
  readonly className?: string
  readonly value?: unknown
  readonly unserializableValue?: string
  readonly description?: string
  readonly objectId?: string
}

export interface ExceptionDetails {
  readonly text: string
  readonly exception?: RemoteObject
}

export interface Evaluated {
  readonly result: RemoteObject
  readonly exceptionDetails?: ExceptionDetails
}

export interface Location {
  readonly scriptId: string
  /** From 0. */
  readonly lineNumber: number
  readonly columnNumber?: number
}

export interface Scope {
  readonly type: string
  readonly object: RemoteObject
  readonly name?: string
}

export interface CallFrame {
  readonly callFrameId: string
  readonly functionName: string
  readonly location: Location
  readonly url: string
  readonly scopeChain: readonly Scope[]
  readonly this: RemoteObject
}

export interface StackTrace {
  readonly description?: string
  readonly callFrames: readonly {
    readonly functionName: string
    readonly scriptId: string
    readonly url: string
    readonly lineNumber: number
    readonly columnNumber: number
  }[]
  readonly parent?: StackTrace
}

export interface PropertyDescriptor {
  readonly name: string
  readonly value?: RemoteObject
  readonly get?: RemoteObject
  readonly enumerable: boolean
  readonly isOwn?: boolean
}

export interface CpuProfile {
  readonly nodes: readonly {
    readonly id: number
    readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number }
    readonly children?: readonly number[]
  }[]
  readonly samples?: readonly number[]
  readonly timeDeltas?: readonly number[]
}

export interface HeapProfileNode {
  readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number }
  readonly selfSize: number
  readonly children: readonly HeapProfileNode[]
}

type Nothing = Readonly<Record<string, never>>

/** What can be asked: parameters and answer by method. */
export interface Commands {
  'Runtime.enable': [Nothing, Nothing]
  'Runtime.evaluate': [
    {
      expression: string
      returnByValue?: boolean
      silent?: boolean
      generatePreview?: boolean
      includeCommandLineAPI?: boolean
    },
    Evaluated,
  ]
  'Runtime.getProperties': [
    { objectId: string; ownProperties?: boolean; generatePreview?: boolean },
    { result: readonly PropertyDescriptor[]; internalProperties?: readonly PropertyDescriptor[] },
  ]
  'Runtime.compileScript': [
    { expression: string; sourceURL: string; persistScript: boolean },
    { exceptionDetails?: ExceptionDetails },
  ]
  'Runtime.addBinding': [{ name: string }, Nothing]
  'Runtime.removeBinding': [{ name: string }, Nothing]
  'Runtime.releaseObjectGroup': [{ objectGroup: string }, Nothing]
  'Debugger.enable': [Nothing, { debuggerId: string }]
  'Debugger.disable': [Nothing, Nothing]
  'Debugger.pause': [Nothing, Nothing]
  'Debugger.resume': [Nothing, Nothing]
  'Debugger.stepOver': [Nothing, Nothing]
  'Debugger.stepInto': [Nothing, Nothing]
  'Debugger.stepOut': [Nothing, Nothing]
  'Debugger.setAsyncCallStackDepth': [{ maxDepth: number }, Nothing]
  'Debugger.setPauseOnExceptions': [{ state: 'none' | 'uncaught' | 'all' }, Nothing]
  'Debugger.setBreakpointByUrl': [
    { url: string; lineNumber: number; columnNumber?: number; condition?: string },
    { breakpointId: string; locations: readonly Location[] },
  ]
  'Debugger.setBreakpoint': [{ location: Location; condition?: string }, { breakpointId: string }]
  'Debugger.removeBreakpoint': [{ breakpointId: string }, Nothing]
  'Debugger.evaluateOnCallFrame': [
    {
      callFrameId: string
      expression: string
      returnByValue?: boolean
      silent?: boolean
      generatePreview?: boolean
      throwOnSideEffect?: boolean
    },
    Evaluated,
  ]
  'Debugger.setVariableValue': [
    {
      scopeNumber: number
      variableName: string
      newValue: { value?: unknown; unserializableValue?: string; objectId?: string }
      callFrameId: string
    },
    Nothing,
  ]
  'Debugger.getScriptSource': [{ scriptId: string }, { scriptSource: string }]
  'Profiler.enable': [Nothing, Nothing]
  'Profiler.disable': [Nothing, Nothing]
  'Profiler.setSamplingInterval': [{ interval: number }, Nothing]
  'Profiler.start': [Nothing, Nothing]
  'Profiler.stop': [Nothing, { profile: CpuProfile }]
  'HeapProfiler.enable': [Nothing, Nothing]
  'HeapProfiler.disable': [Nothing, Nothing]
  'HeapProfiler.startSampling': [{ samplingInterval: number }, Nothing]
  'NodeWorker.enable': [{ waitForDebuggerOnStart: boolean }, Nothing]
  'NodeWorker.disable': [Nothing, Nothing]
  'NodeWorker.sendMessageToWorker': [{ sessionId: string; message: string }, Nothing]
  'HeapProfiler.stopSampling': [Nothing, { profile: { head: HeapProfileNode } }]
}

/** What it says unasked, by method. */
export interface Events {
  'Debugger.scriptParsed': { scriptId: string; url: string; sourceMapURL?: string; endLine: number }
  'Debugger.paused': {
    callFrames: readonly CallFrame[]
    reason: string
    hitBreakpoints?: readonly string[]
    asyncStackTrace?: StackTrace
    data?: RemoteObject
  }
  'Debugger.resumed': Nothing
  'NodeWorker.attachedToWorker': { sessionId: string; workerInfo: { title: string; url: string } }
  'NodeWorker.receivedMessageFromWorker': { sessionId: string; message: string }
  'NodeWorker.detachedFromWorker': { sessionId: string }
  'Runtime.bindingCalled': { name: string; payload: string }
  'Runtime.consoleAPICalled': { type: string; args: readonly RemoteObject[]; timestamp: number }
  'Runtime.exceptionThrown': { exceptionDetails: ExceptionDetails }
}
