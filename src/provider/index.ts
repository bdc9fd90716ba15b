/** The face of `provider`: what stands behind a kind of resource. */
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
} from './provider.ts'
