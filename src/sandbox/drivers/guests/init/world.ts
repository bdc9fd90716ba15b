/**
 * The guest's own world: modules, configuration, root, network, limits. First parts of the first program: all that it does
 * before anything of the user's is there.
 */

/** The kernel's interface, and what all parts use. Whoever calls them says with `down` how everything ends. */
export const tools: string = String.raw`#!/bin/perl
# Numbers of the kernel's interface.
($MOUNT, $UMOUNT, $REBOOT, $LOAD, $UNSHARE, $SETNS, $PRCTL, $SETGROUPS, $SETRESUID, $SETRESGID, $SETSID, $HOSTNAME, $MKNOD) =
  (165, 166, 169, 313, 272, 308, 157, 116, 117, 119, 112, 170, 133);
($RDONLY, $NOSUID, $NODEV, $REMOUNT, $BIND, $MOVE, $REC, $PRIVATE) = (1, 2, 4, 32, 4096, 8192, 16384, 1 << 18);
$NAMESPACES = 0x20000000 | 0x20000 | 0x08000000 | 0x04000000;
$WINDOW = 262144;
$FRAME = 65536;
$| = 1;

sub fail {
  print STDERR "guest: $_[0]\n";
  down();
}
sub call {
  my ($number, @arguments) = @_;
  my @copies = map { my $copy = $_; $copy } @arguments;
  return syscall($number, @copies);
}
sub mnt {
  my ($source, $target, $type, $flags, $data) = @_;
  $data = '' unless defined $data;
  call($MOUNT, "$source", "$target", "$type", $flags + 0, "$data") == 0 or fail("cannot mount $source at $target: $!");
}
sub entries {
  opendir my $dir, $_[0] or return ();
  return sort grep { $_ ne '.' && $_ ne '..' } readdir $dir;
}
sub slurp {
  open my $file, '<', $_[0] or return '';
  local $/;
  my $text = <$file>;
  return defined $text ? $text : '';
}
sub put {
  my ($path, $text, $quiet) = @_;
  open my $file, '>', $path or return $quiet || fail("cannot write $path: $!");
  syswrite($file, $text) == length $text or $quiet or fail("cannot write $path: $!");
}
sub parents {
  my ($path) = @_;
  my $made = '';
  my @parts = split m{/}, $path;
  pop @parts;
  for (@parts) {
    next if $_ eq '';
    $made .= "/$_";
    mkdir $made, 0755 unless -d $made;
  }
}
sub field {
  my ($key) = @_;
  return $config{$key} ? $config{$key}[0] : undef;
}
sub parse {
  my ($text) = @_;
  my (%found, $at);
  for ($at = 0; $at < length $text;) {
    my $end = index $text, "\n", $at;
    my ($key, $bytes) = split / /, substr $text, $at, $end - $at;
    push @{ $found{$key} }, substr $text, $end + 1, $bytes;
    $at = $end + $bytes + 2;
  }
  return %found;
}
`

/** The machine itself, and an empty root, or the one that was brought. */
export const world: string = String.raw`# The machine itself.
sub down {
  # One that would start anew does so by itself, instead of ending; so it is switched off.
  syscall($REBOOT, 0xfee1dead, 672274793, $hosted ? 0x4321fedc : 0x1234567, 0);
  sleep 60;
}
mkdir $_ for qw(/proc /sys /dev /boot-config /share /trees /new);
mnt('proc', '/proc', 'proc', 0);
open STDERR, '>', '/dev/console';
# For whoever measures: seconds that the kernel had run by then.
($began) = split / /, slurp('/proc/uptime');
mnt('sys', '/sys', 'sysfs', 0);
mnt('dev', '/dev', 'devtmpfs', 0);
sub load {
  for my $name (entries("/modules/$_[0]")) {
    open my $module, '<', "/modules/$_[0]/$name";
    my $options = '';
    syscall($LOAD, fileno($module), $options, 0) == 0 or $! == 17 or print STDERR "guest: cannot load $name: $!\n";
  }
}
load('always');
# A kernel that is a program opens files of its host itself; another is served by what runs it.
$hosted = slurp('/proc/cmdline') =~ /\bstead\.guest=uml\b/;
sub shared {
  my ($what, $target, $flags, $options) = @_;
  return mnt('none', $target, 'hostfs', $flags, "/machine/$what") if $hosted;
  mnt($what, $target, '9p', $flags, "trans=virtio,version=9p2000.L,$options");
}
my $text = '';
shared('boot', '/boot-config', $RDONLY, 'msize=131072');
$text .= slurp("/boot-config/$_") for sort { $a <=> $b } entries('/boot-config');
call($UMOUNT, '/boot-config', 0);
our %config = parse($text);
load($_) for @{ $config{load} };
my $hostname = field('hostname');
call($HOSTNAME, $hostname, length($hostname) + 0);
my ($uid, $gid) = (field('uid') + 0, field('gid') + 0);
@identity = ($uid, $gid);

# Its root.
shared('share', '/share', 0, 'msize=512000,cache=none') if field('share');
shared('trees', '/trees', $RDONLY, 'msize=512000,cache=loose') if field('trees');
# What is written has a bound on the host, and whoever writes is to hear of it at once.
my $kept = field('writable') || $config{scratch} ? 'mmap' : 'loose';
if (field('root')) { shared('root', '/new', 0, "msize=512000,cache=$kept") }
else { mnt('root', '/new', 'tmpfs', $NOSUID | $NODEV, 'mode=755') }
sub device {
  my ($path, $major, $minor) = @_;
  call($MKNOD, $path, 020666, ($major << 8) | $minor);
  chmod 0666, $path;
}
sub closed { mnt('', $_[0], '', $BIND | $REMOUNT | $RDONLY | $NOSUID | $NODEV) }
`

/**
 * What is in the root beside its programs. Whoever calls it has laid the root itself, and says with `device` and `closed` how
 * devices come in and what is mounted is closed to writers.
 */
export const rooms: string = String.raw`for (@{ $config{link} }) {
  my ($target, $path) = split /\0/, $_, 2;
  parents("/new$path");
  symlink $target, "/new$path";
}
my $temporary = field('tmp');
for ([tmp => 01777], [run => 0755], [var => 0755], [proc => 0755], [sys => 0755], [dev => 0755], [etc => 0755]) {
  mkdir "/new/$$_[0]", $$_[1] unless -d "/new/$$_[0]";
}
mnt('tmp', '/new/tmp', 'tmpfs', $NOSUID | $NODEV, 'mode=1777' . ($temporary ? ",size=$temporary" : ''));
symlink '/tmp', '/new/var/tmp' unless -e '/new/var/tmp';
mnt('dev', '/new/dev', 'tmpfs', $NOSUID, 'mode=755');
mkdir "/new/dev/$_" for qw(pts shm);
mnt('pts', '/new/dev/pts', 'devpts', $NOSUID, 'newinstance,ptmxmode=0666,mode=620');
mnt('shm', '/new/dev/shm', 'tmpfs', $NOSUID | $NODEV, 'mode=1777,size=64m');
for ([null => 1, 3], [zero => 1, 5], [full => 1, 7], [random => 1, 8], [urandom => 1, 9], [tty => 5, 0]) {
  my ($name, $major, $minor) = @$_;
  device("/new/dev/$name", $major, $minor);
}
symlink '/proc/self/fd', '/new/dev/fd';
symlink "/proc/self/fd/$$_[0]", "/new/dev/$$_[1]" for [0, 'stdin'], [1, 'stdout'], [2, 'stderr'];
symlink 'pts/ptmx', '/new/dev/ptmx';
# Bound by itself, it stays as it is when the root is closed.
mnt("/new$_", "/new$_", '', $BIND) for @{ $config{scratch} };
for (@{ $config{mount} }) {
  my ($source, $target, $access) = split /\0/;
  my $inside = "/new$target";
  parents($inside);
  if (-d $source) { mkdir $inside, 0755 unless -d $inside }
  else { open my $file, '>>', $inside }
  mnt($source, $inside, '', $BIND | $REC);
  closed($inside) if $access eq 'read-only';
}
my $hidden = 0;
for (@{ $config{file} }) {
  my ($mode, $writable, $path, $content) = split /\0/, $_, 4;
  my $inside = "/new$path";
  parents($inside);
  # In memory, and out of the way of whatever lies there.
  mkdir '/files', 0755;
  mnt('files', '/files', 'tmpfs', $NODEV, 'mode=755') unless $hidden;
  my $own = '/files/' . $hidden++;
  put($own, $content);
  chown $uid, $gid, $own;
  chmod oct $mode, $own;
  unless (-e $inside) { open my $file, '>', $inside }
  mnt($own, $inside, '', $BIND);
  mnt('', $inside, '', $BIND | $REMOUNT | $RDONLY | $NOSUID | $NODEV) unless $writable;
}
parents('/new' . field('cwd') . '/.') if field('root');
mnt('', '/new', '', $BIND | $REMOUNT | $RDONLY | $NOSUID | $NODEV) unless field('writable');
`

/** The link to the network of the guest's place, and the groups that hold its limits. */
export const hardware: string = String.raw`# Its network: loopback, and the link to the network of its place.
socket my $any, 2, 2, 0;
sub interface {
  my ($request, $name, $value) = @_;
  my $data = pack 'a16 a24', $name, $value;
  ioctl $any, $request, $data;
}
sub address { return pack 'S n C4 x8', 2, 0, split /\./, $_[0] }
interface(0x8914, 'lo', pack 's', 0x49);
my ($card) = grep { $_ ne 'lo' } entries('/sys/class/net');
if (defined $card) {
  interface(0x8916, $card, address('10.0.2.15'));
  interface(0x891c, $card, address('255.255.255.0'));
  interface(0x8914, $card, pack 's', 0x43);
  my $route = pack 'x8 a16 a16 a16 S x6 x48', address('0.0.0.0'), address('10.0.2.2'), address('0.0.0.0'), 3;
  # struct rtentry: padding, destination, gateway, mask, flags.
  ioctl $any, 0x890b, $route or print STDERR "guest: no route: $!\n";
}

# Its limits.
my $groups = '/sys/fs/cgroup';
mnt('cgroup2', $groups, 'cgroup2', 0);
put("$groups/cgroup.subtree_control", '+memory +pids +cpu', 1);
mkdir "$groups/box";
mkdir "$groups/box/main";
put("$groups/box/memory.max", field('memory'), 1) if field('memory');
put("$groups/box/pids.max", field('pids'), 1) if field('pids');

# What is run beside the program has a group each, by which it is found and ended.
sub groupOf { return "$groups/box/x$_[0]" }
sub members { return split /\n/, slurp(groupOf($_[0]) . '/cgroup.procs') }
sub gather { mkdir groupOf($_[0]) }
sub join_group {
  open my $group, '>', groupOf($_[0]) . '/cgroup.procs';
  return sub { syswrite $group, '0' };
}
sub end_group { put(groupOf($_[0]) . '/cgroup.kill', '1', 1) }
sub scatter { rmdir groupOf($_[0]) }
sub end_rest { }
sub buried { }
sub end_all { put("$groups/box/cgroup.kill", '1', 1) }
sub usage {
  my ($used) = slurp("$groups/box/cpu.stat") =~ /^usage_usec (\d+)/m;
  return join ' ', map { $_ + 0 } slurp("$groups/box/pids.current"), slurp("$groups/box/memory.current"), $used, $began;
}
# Processes killed for memory, and refused.
sub evidence {
  my ($killed) = slurp("$groups/box/memory.events") =~ /^oom_kill (\d+)/m;
  my ($refused) = slurp("$groups/box/pids.events") =~ /^max (\d+)/m;
  return ($killed + 0, $refused + 0);
}
# Namespaces that lead to the program, from its first process.
@SPACES = qw(pid ipc uts mnt);
`
