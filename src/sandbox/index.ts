/** The face of `sandbox`: start programs in isolation, follow them, find them again after the supervisor died. */
export { describeCapabilities, limitsWithin } from './capabilities.ts'
export type { LimitGroup, LimitGroups } from './cgroup.ts'
export type { CpuClass, ReservedCpu } from './cpu-class.ts'
export type {
  Disk,
  ExecOptions,
  Executed,
  Exit,
  HostIds,
  InlineFile,
  Machine,
  MachineSnapshot,
  Mount,
  NetworkPlace,
  OciRuntime,
  OutputLine,
  OutputOptions,
  RootTree,
  Sandbox,
  SandboxCapabilities,
  SandboxDriver,
  SandboxLimits,
  SandboxSpec,
  SandboxUsage,
  Series,
  Support,
  SyscallProfile,
  TerminalSize,
} from './driver.ts'
export { bubblewrapDriver } from './drivers/bubblewrap.ts'
export type { BubblewrapDriverOptions } from './drivers/bubblewrap.ts'
export { detectLimitGroups } from './drivers/cgroups.ts'
export { joinDrivers } from './drivers/joined.ts'
export type { OtherDriver } from './drivers/joined.ts'
export { ociRuntimeDriver } from './drivers/oci-runtime.ts'
export type { OciRuntimeDriverOptions } from './drivers/oci-runtime.ts'
export { processDriver } from './drivers/process.ts'
export type { ProcessDriverOptions } from './drivers/process.ts'
export { readOutput } from './drivers/output-files.ts'
export { findLogger, nodeLogger } from './drivers/programs.ts'
export type { Logger } from './drivers/programs.ts'
export { checkKernel, readDisk } from './drivers/guests/disk-file.ts'
export { incusDriver, incusDriverWithoutServer } from './drivers/incus.ts'
export type { IncusDriverOptions } from './drivers/incus.ts'
export type { IncusAddress } from './drivers/incus/api.ts'
export { umlDriver } from './drivers/uml.ts'
export { vmDriver } from './drivers/vm.ts'
export type { GuestDriverOptions } from './drivers/guest-driver.ts'
export { explainExit } from './exit.ts'
export { filterFile } from './filter.ts'
export { seriesProcesses } from './series.ts'
export { specLimits } from './spec.ts'
export { syscallName } from './syscalls.ts'
