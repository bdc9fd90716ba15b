/** The face of `provider`: the interface of what stands behind a kind of resource. The suite is in `conformance.ts`. */
export type {
  BindTarget,
  Binding,
  Grant,
  Metric,
  ProgramResult,
  Provider,
  ProviderCapabilities,
  ProviderContext,
  ProviderProgram,
  ProviderServer,
  ResourceDiff,
  RunningServer,
} from './provider.ts'
