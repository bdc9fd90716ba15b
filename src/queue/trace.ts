/** Trace context on messages: the W3C headers, carried as they are and never made up. */

/** What of a trace travels with a message. */
export interface Trace {
  readonly traceparent: string
  readonly tracestate?: string
  readonly baggage?: string
}

/** The headers that carry a trace. */
export function traceHeaders(trace: Trace | undefined): Record<string, string> {
  if (trace === undefined) return {}
  const { traceparent, tracestate, baggage } = trace
  return {
    traceparent,
    ...(tracestate === undefined ? {} : { tracestate }),
    ...(baggage === undefined ? {} : { baggage }),
  }
}

/** The trace in a message's headers, or null. */
export function traceOf(headers: Readonly<Record<string, string>>): Trace | null {
  const { traceparent, tracestate, baggage } = headers
  if (traceparent === undefined) return null
  return {
    traceparent,
    ...(tracestate === undefined ? {} : { tracestate }),
    ...(baggage === undefined ? {} : { baggage }),
  }
}
