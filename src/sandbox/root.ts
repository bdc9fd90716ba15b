/**
 * What makes a program's own root: a program in Perl, which stands in the launcher in front of bubblewrap. In a mount
 * namespace of its own it lays the layers over one another and hands them to the workload's user. Pure.
 *
 * Layers are shared between workloads, and each workload has a user of its own on the host: so the layers belong to root on
 * the disk, and each is mounted with its ids mapped to the workload's user, by the kernel and without a copy. What is written
 * goes to a file system in memory above them, which counts against the workload's memory as soon as it runs.
 *
 * What lives in that namespace lives as long as the workload. So that it keeps no file system of the host busy which the host
 * unmounts meanwhile, whatever is not needed is unmounted there at once.
 *
 * Invariants: nothing is mounted in the host's own namespace, so nothing is left behind however anything ends; no layer is
 * ever written; no path of the host stands in what the program can read of its mounts.
 */
import type { HostIds } from './driver.ts'

/** Call numbers that differ between architectures; those of newer calls are the same everywhere. */
const calls: Readonly<Record<string, readonly [unshare: number, mount: number, umount: number]>> = {
  x64: [272, 165, 166],
  arm64: [97, 40, 39],
}

/** Whether roots can be made on this architecture. */
export function canCall(architecture: string): boolean {
  return calls[architecture] !== undefined
}

/** Below the place: the root itself, for bubblewrap to bind. */
export const rootWithin = 'root'

/** What bubblewrap and the programs in front of it need of the host, beside the sources of its mounts. */
const systemPaths = 'qw(/proc /dev /sys /usr /bin /sbin /lib /lib32 /lib64 /etc)'

/** Where what is run finds the table of ids of a root with several users, as a namespace. Free in the launcher by then. */
export const tableFd = 5

/** Users inside: the program's own is `hostUid` on the host, the others are as `hostIds` says. */
export interface SeveralUsers {
  readonly user: { readonly uid: number; readonly gid: number }
  readonly hostIds: HostIds
}

function single(hostUid: number): readonly string[] {
  return [`0 ${hostUid} 1`, `0 ${hostUid} 1`]
}

function idsOf({ user: { uid, gid }, hostIds }: SeveralUsers, hostUid: number): readonly (number | string)[] {
  const owner = [uid, gid].map((own) => (own === 0 ? hostUid : hostIds.first))
  return [...owner, tableFd, ...[uid, gid].map((own) => tableOf(own, hostUid, hostIds))]
}

/** A table of ids, as the kernel reads it: one id is the keeper's, whatever lies below and above it is of the range. */
function tableOf(own: number, hostUid: number, { first, count }: HostIds): string {
  const rows = [
    [0, first, own],
    [own, hostUid, 1],
    [own + 1, first + own + 1, count - own - 1],
  ]
  return rows
    .filter(([, , size = 0]) => size > 0)
    .map((row) => row.join(' '))
    .join('\n')
}

/** What the Perl program is told. */
export interface RootOrder {
  readonly architecture: string
  /** An empty directory of the host that everybody may pass; in the namespace, everything is made below it. */
  readonly place: string
  readonly hostUid: number
  /** Null: one user, `hostUid`, to whom all of the layers belongs. */
  readonly several: SeveralUsers | null
  /** Size of what can be written above the layers. */
  readonly writtenBytesMax: number
  /** Lowest first. */
  readonly layers: readonly string[]
  /** Directories of the root that must be there, free of symbolic links. */
  readonly scratch: readonly string[]
  /** Paths of the host that are bound into the root later on. */
  readonly sources: readonly string[]
}

/** Arguments of the Perl program; what is to be run then follows them. */
export function rootArguments(order: RootOrder): readonly string[] {
  const { architecture, place, hostUid, several, writtenBytesMax, layers, scratch, sources } = order
  const lists = [layers, scratch, sources]
  // The root itself is user 0's, whoever that is.
  const ids = several === null ? [hostUid, hostUid, -1, ...single(hostUid)] : idsOf(several, hostUid)
  const head = [
    ...(calls[architecture] ?? []),
    place,
    hostUid,
    ...ids,
    writtenBytesMax,
    ...lists.map((list) => list.length),
  ]
  return [...head, ...lists.flat()].map(String)
}

/**
 * A user namespace is made for its table of ids, by a child that ends at once. Where there are several users inside, bubblewrap
 * enters it: so it is made by the keeper, who has every right over it then and none beside, and no other can be made in it. Names of layers are those of the order,
 * as short as can be: the kernel takes one page of them.
 */
export const rootProgram: string = `
my ($unshare, $mount, $umount, $place, $keeper, $uid, $gid, $table, $users, $groups, $size, $layers, $scratch, $sources, @command) = @ARGV;
my @layers = splice @command, 0, $layers; my @scratch = splice @command, 0, $scratch;
my @sources = splice @command, 0, $sources; my $nothing = '';
sub need { my ($what, $result) = @_; $result >= 0 or die "the root could not be made: $what: $!\\n"; $result }
sub put { my ($type, $target, $flags, $data) = @_; my $source = 'stead';
  need("mounting $type", syscall($mount + 0, $source, $target, $type, $flags, $data)) }
pipe(my $ready, my $say); pipe(my $wait, my $end);
my $child = fork; defined $child or need('fork', -1);
if (!$child) {
  close $ready; close $end;
  if ($table >= 0) { $) = "$keeper $keeper"; $( = $keeper; ($<, $>) = ($keeper, $keeper); $> == $keeper or exit 1 }
  syscall($unshare + 0, 0x10000000) >= 0 or exit 1;
  if ($table >= 0) {
    open(my $most, '>', '/proc/sys/user/max_user_namespaces') or exit 1;
    syswrite($most, '0') or exit 1;
  }
  syswrite $say, 'x';
  close $say; my $over; sysread $wait, $over, 1; exit 0;
}
close $say; close $wait;
need('a mount namespace', syscall($unshare + 0, 0x20000));
put('none', '/', 0x84000, 0);
my $said; sysread($ready, $said, 1) or need('a user namespace', -1);
for my $map (['uid_map', $users], ['gid_map', $groups]) {
  my ($name, $rows) = @$map;
  open(my $file, '>', "/proc/$child/$name") or need($name, -1);
  syswrite($file, $rows) or need($name, -1);
}
open(my $ids, '<', "/proc/$child/ns/user") or need('a table of ids', -1);
close $end; waitpid $child, 0;
if ($table >= 0) { require POSIX; need('the table of ids', POSIX::dup2(fileno $ids, $table) // -1) }
put('tmpfs', $place, 6, "mode=0755,size=$size");
chdir $place or need($place, -1);
mkdir $_ or need($_, -1) for '${rootWithin}', 'upper', 'work', 0 .. $#layers;
chown $uid, $gid, 'upper';
my $attributes = pack('Q<4', 0x100007, 0, 0, fileno $ids);
for my $index (0 .. $#layers) {
  my $layer = $layers[$index]; my $name = "$index";
  my $tree = need("the layer $layer", syscall(428, -100, $layer, 0x80001));
  need("mapping ids of $layer", syscall(442, $tree, $nothing, 0x1000, $attributes, 32));
  need("mounting $layer", syscall(429, $tree, $nothing, -100, $name, 4));
}
put('overlay', '${rootWithin}', 6, 'lowerdir=' . join(':', reverse 0 .. $#layers) . ',upperdir=upper,workdir=work');
sub within { my ($path, $top) = @_; $path eq $top || index($path, "$top/") == 0 }
open(my $mounts, '<', '/proc/self/mountinfo') or need('mountinfo', -1);
my @points = map { my $point = (split / /)[4]; $point =~ s/\\\\([0-7]{3})/chr oct $1/ge; $point } <$mounts>;
for my $point (reverse @points) {
  next if $point eq '/' or grep { within($point, $_) || within($_, $point) } @sources, $place, ${systemPaths};
  syscall($umount + 0, $point, 2);
}
for my $path (@scratch) {
  my $here = '${rootWithin}';
  for my $name (grep { length } split(m{/}, $path)) {
    $here .= "/$name"; next if -d $here;
    mkdir $here or need($path, -1);
    chown $keeper, $keeper, $here;
  }
}
chdir '/'; exec { $command[0] } @command; need($command[0], -1);
`
