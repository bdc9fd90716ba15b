/**
 * The first program of a container, out of the parts of that of a guest: the server has made processes, names and limits, so
 * what is left is the program's root, its user and its filter.
 *
 * The root of the container is the workload's user on the host. The program is that user too, in a user namespace of its own
 * in which it has no power: everything it is given belongs to it, and the first program, which keeps its exit, does not.
 *
 * Invariants: the configuration, which holds secrets, comes through a pipe and is never on a disk; nothing of it runs unless
 * who keeps its output is there.
 */
import { program } from '../guests/init/program.ts'
import { serve } from '../guests/init/serve.ts'
import { rooms, tools } from '../guests/init/world.ts'

const container = String.raw`sub down { call(231, 125) }
open my $printed, '>', '/control/output' or down();
open STDERR, '>&', $printed;
our %config = parse(slurp('/control/config'));
my $hostname = field('hostname');
call($HOSTNAME, $hostname, length($hostname) + 0);
@identity = (field('uid') + 0, field('gid') + 0);
my ($uid, $gid) = (0, 0);
mkdir $_, 0755 for qw(/new /groups);
mnt('root', '/new', 'tmpfs', $NOSUID | $NODEV, 'mode=755');
# Nobody in a container may make devices; those that the server has put there are shown.
sub device {
  my ($path) = @_;
  my ($name) = $path =~ m{([^/]+)$};
  open my $file, '>', $path;
  mnt("/dev/$name", $path, '', $BIND);
}
# The server has closed what is read-only.
sub closed { }
`

const limits = String.raw`mnt('/proc', '/new/proc', '', $BIND | $REC);

# The server holds the limits; what they did is read from its groups, of either version.
sub group {
  my ($type, $of) = @_;
  mkdir "/groups/$of", 0755;
  call($MOUNT, 'group', "/groups/$of", $type, 0, $of);
}
if (slurp('/proc/self/cgroup') =~ /:memory:/) { group('cgroup', $_) for qw(memory pids) }
else { group('cgroup2', '') }
sub evidence {
  my ($memory) = grep { -e } qw(/groups/memory/memory.oom_control /groups/memory.events);
  my ($pids) = grep { -e } qw(/groups/pids/pids.events /groups/pids.events);
  my ($killed) = slurp($memory) =~ /^oom_kill (\d+)/m;
  my ($refused) = slurp($pids) =~ /^max (\d+)/m;
  return ($killed + 0, $refused + 0);
}

# What is run beside the program is found by its descent from the process that follows it, which adopts what is orphaned.
sub below {
  my ($top) = @_;
  my %children;
  for (grep { /^\d+$/ } entries('/proc')) {
    my ($parent) = slurp("/proc/$_/stat") =~ /^.*\) \S (\d+)/s;
    push @{ $children{$parent} }, $_ if $parent;
  }
  my @found = @{ $children{$top} || [] };
  for (my $at = 0; $at < @found; $at++) { push @found, @{ $children{ $found[$at] } || [] } }
  return @found;
}
sub members { return $inside{ $_[0] } ? below($inside{ $_[0] }{between}) : () }
sub gather { }
sub scatter { }
sub join_group {
  call($PRCTL, 36, 1, 0, 0, 0);
  return sub { };
}
sub end_group { kill 'KILL', members($_[0]) }
sub end_rest {
  for (1 .. 1000) {
    1 while waitpid(-1, 1) > 0;
    my @left = below($$) or last;
    kill 'KILL', @left;
    select undef, undef, undef, 0.005;
  }
}
sub end_all { kill 'KILL', -1 }
# The server tells what is used.
sub usage { return '0' }
@SPACES = qw(mnt user);
`

const start = String.raw`my %ports = map { $_ => "/control/$_" } qw(answers exit ready);
$ports{control} = '/control/orders';
pipe my $gate, my $open;
pipe my $told, my $tell;
pipe my $begun, my $begin;
my $program = fork;
if ($program == 0) {
  call($UNSHARE, 0x20000) == 0 or fail("cannot make a mount namespace: $!");
  mnt('', '/', '', $REC | $PRIVATE);
  chdir '/new';
  mnt('/new', '/', '', $MOVE);
  chroot '.';
  call($UNSHARE, 0x10000000) == 0 or fail("cannot make a user namespace: $!");
  put('/proc/self/setgroups', 'deny');
  put('/proc/self/uid_map', "$identity[0] 0 1\n");
  put('/proc/self/gid_map', "$identity[1] 0 1\n");
  close $_ for $open, $begin;
  embody($gate, $printed);
}
close $_ for $printed, $gate, $begin;
# Until its namespaces are made; then it waits.
sysread $begun, my $nothing, 1;
sub buried {
  my ($gone, $status) = @_;
  syswrite $tell, ($status & 127 ? 128 + ($status & 127) : $status >> 8) . "\n" if $gone == $program;
}
my ($first, $carrier) = ($program, $program);
syswrite $open, 'x';
close $open;
`

export const containerInit: string = [tools, container, rooms, limits, program, start, serve].join('\n')
