/**
 * The profiles of system calls, as data: what programs like Node, Python and PostgreSQL ask of a kernel. Pure.
 *
 * Invariants: what is not named is refused; `strict` answers nothing that `default` refuses. Both refuse whatever makes
 * namespaces, mounts, loads code into the kernel, reads other programs through it or opens a little-used part of it
 * (io_uring, userfaultfd, perf, bpf, keys, sockets other than Unix, IP and routing). `default` adds what debuggers,
 * tracers and databases with asynchronous files need.
 */

/** What becomes of a call: answered, refused (EPERM), as if it did not exist (ENOSYS, so that libraries fall back), or the end of the program. */
export type Verdict = 'allow' | 'refuse' | 'unknown' | 'kill'

/**
 * A look at one argument: the bits under `mask` are `equals`. Only the lower 32 bits are seen, because that is what the
 * kernel itself reads of these arguments: comparing all 64 would let set upper bits slip past a refusal.
 */
export interface Condition {
  readonly argument: number
  readonly mask: number
  readonly equals: number
}

/** The first case whose conditions all hold decides. */
export interface Rule {
  readonly cases: readonly { readonly when: readonly Condition[]; readonly verdict: Verdict }[]
  readonly otherwise: Verdict
}

export interface Profile {
  readonly allow: readonly string[]
  readonly rules: Readonly<Record<string, Rule>>
}

const all = 0xffffffff

function is(argument: number, equals: number, mask: number = all): Condition {
  return { argument, mask, equals }
}

/** Allowed when any of the conjunctions holds, refused otherwise. */
function onlyWhen(...conjunctions: readonly (readonly Condition[])[]): Rule {
  return { cases: conjunctions.map((when) => ({ when, verdict: 'allow' })), otherwise: 'refuse' }
}

/** CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET. */
const namespaceFlags = 0x7e020000
const unixSocket = 1
const internet4 = 2
const internet6 = 10
const netlink = 16
const netlinkRoute = 0
const fileType = 0o170000
const fifo = 0o010000
const socketFile = 0o140000
const regularFile = 0o100000
/** Pushes characters into the input of a terminal: a way out to whoever owns it. */
const pushIntoTerminal = 0x5412
const consoleControl = 0x541c
const queryPersonality = all
const withoutRandomAddresses = 0x0040000

function plainFilesOnly(argument: number): Rule {
  return onlyWhen(...[fifo, socketFile, regularFile, 0].map((kind) => [is(argument, kind, fileType)]))
}

const ordinary: readonly string[] = [
  // Files and directories.
  `read write open openat openat2 creat close close_range stat fstat lstat newfstatat statx statfs fstatfs access
    faccessat faccessat2 lseek pread64 pwrite64 readv writev preadv pwritev preadv2 pwritev2 truncate ftruncate
    fallocate fsync fdatasync sync syncfs sync_file_range fadvise64 readahead sendfile splice tee vmsplice
    copy_file_range cachestat rename renameat renameat2 link linkat unlink unlinkat symlink symlinkat readlink
    readlinkat mkdir mkdirat rmdir getdents getdents64 getcwd chdir fchdir chmod fchmod fchmodat fchmodat2 chown
    fchown lchown fchownat umask utime utimes utimensat futimesat flock fcntl dup dup2 dup3 pipe pipe2 getxattr
    lgetxattr fgetxattr setxattr lsetxattr fsetxattr listxattr llistxattr flistxattr removexattr lremovexattr
    fremovexattr inotify_init inotify_init1 inotify_add_watch inotify_rm_watch memfd_create memfd_secret`,
  // Memory.
  `brk mmap munmap mprotect mremap madvise msync mincore mlock mlock2 mlockall munlock munlockall membarrier
    pkey_alloc pkey_free pkey_mprotect remap_file_pages mbind get_mempolicy set_mempolicy set_mempolicy_home_node
    shmget shmat shmdt shmctl semget semop semtimedop semctl msgget msgsnd msgrcv msgctl mq_open mq_unlink
    mq_timedsend mq_timedreceive mq_notify mq_getsetattr`,
  // Processes, threads, signals.
  `fork vfork execve execveat exit exit_group wait4 waitid kill tkill tgkill getpid gettid getppid getpgid getpgrp
    setpgid getsid setsid set_tid_address set_robust_list get_robust_list rseq futex futex_waitv arch_prctl prctl
    seccomp landlock_create_ruleset landlock_add_rule landlock_restrict_self pidfd_open pidfd_send_signal
    process_mrelease restart_syscall rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending rt_sigsuspend
    rt_sigtimedwait rt_sigqueueinfo rt_tgsigqueueinfo sigaltstack signalfd signalfd4 pause alarm sched_yield
    sched_getaffinity sched_setaffinity sched_getparam sched_setparam sched_getscheduler sched_setscheduler
    sched_getattr sched_setattr sched_get_priority_max sched_get_priority_min sched_rr_get_interval getpriority
    setpriority ioprio_get ioprio_set getrlimit setrlimit prlimit64 getrusage times getcpu sysinfo uname`,
  // Who it is. Changing it gains nothing: there are no capabilities and one user.
  `getuid geteuid getgid getegid getresuid getresgid getgroups setuid setgid setreuid setregid setresuid setresgid
    setgroups setfsuid setfsgid capget capset`,
  // Time and waiting.
  `time gettimeofday clock_gettime clock_getres clock_nanosleep nanosleep getitimer setitimer timer_create
    timer_settime timer_gettime timer_getoverrun timer_delete timerfd_create timerfd_settime timerfd_gettime poll
    ppoll select pselect6 epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait
    epoll_pwait2 eventfd eventfd2 getrandom`,
  // Sockets, once made.
  `socketpair bind listen accept accept4 connect getsockname getpeername getsockopt setsockopt sendto recvfrom
    sendmsg recvmsg sendmmsg recvmmsg shutdown`,
].flatMap((group) => group.split(/\s+/))

const ordinaryRules: Readonly<Record<string, Rule>> = {
  clone: onlyWhen([is(0, 0, namespaceFlags)]),
  // Its flags lie in memory, where a filter cannot look: libraries are sent back to clone.
  clone3: { cases: [], otherwise: 'unknown' },
  socket: onlyWhen([is(0, unixSocket)], [is(0, internet4)], [is(0, internet6)], [is(0, netlink), is(2, netlinkRoute)]),
  ioctl: {
    cases: [pushIntoTerminal, consoleControl].map((command) => ({ when: [is(1, command)], verdict: 'refuse' })),
    otherwise: 'allow',
  },
  mknod: plainFilesOnly(1),
  mknodat: plainFilesOnly(2),
  personality: onlyWhen([is(0, 0)], [is(0, queryPersonality)]),
}

const strict: Profile = { allow: ordinary, rules: ordinaryRules }

const debugging = `ptrace process_vm_readv process_vm_writev process_madvise pidfd_getfd kcmp name_to_handle_at`
const asynchronousFiles = `io_setup io_destroy io_submit io_cancel io_getevents io_pgetevents`

/**
 * What only somebody asks for who wants to leave: mounts, other programs' namespaces and memory, code for the kernel. No
 * library tries any of it to find out whether it may.
 */
const escapes = `mount umount2 pivot_root setns open_by_handle_at bpf init_module finit_module delete_module kexec_load
  kexec_file_load swapon swapoff reboot acct iopl ioperm move_mount open_tree fsopen fsconfig fsmount mount_setattr ptrace
  process_vm_readv process_vm_writev`

const deadly: Rule = { cases: [], otherwise: 'kill' }

/**
 * A profile for what enters a sandbox that runs: the filter is put on before the namespaces are entered, so it answers that
 * as well. To the program it is worth nothing: without capabilities there is no namespace that it could enter.
 */
export function withEntry(profile: Profile): Profile {
  const { setns: _refused, ...rules } = profile.rules
  return { allow: [...profile.allow, 'setns'], rules }
}

/** The profiles by name. `guarded` is `strict`, but for attempts to escape: they end the program, which the kernel writes down. */
export const profiles: Readonly<Record<'strict' | 'guarded' | 'default', Profile>> = {
  strict,
  guarded: {
    allow: ordinary,
    rules: { ...ordinaryRules, ...Object.fromEntries(escapes.split(/\s+/).map((name) => [name, deadly])) },
  },
  default: {
    allow: [...ordinary, ...debugging.split(' '), ...asynchronousFiles.split(' ')],
    rules: {
      ...ordinaryRules,
      personality: onlyWhen([is(0, 0)], [is(0, queryPersonality)], [is(0, withoutRandomAddresses)]),
    },
  },
}
