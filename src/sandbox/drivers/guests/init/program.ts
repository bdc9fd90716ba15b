/**
 * The guest's program: started in namespaces of its own, as its user, under its limits and filter, with a process that
 * carries its output away. Second part of the first program.
 */
export const program: string = String.raw`sub become {
  my ($root) = @_;
  $SIG{$_} = 'DEFAULT' for qw(CHLD PIPE IO TERM INT HUP);
  unless ($root) {
    call($PRCTL, 24, $_, 0, 0, 0) for 0 .. 40;
    my $none = '';
    call($SETGROUPS, 0, $none);
    my ($user, $group) = @identity;
    call($SETRESGID, $group, $group, $group) == 0 or fail("cannot become group $group: $!");
    call($SETRESUID, $user, $user, $user) == 0 or fail("cannot become user $user: $!");
  }
  call($PRCTL, 38, 1, 0, 0, 0) unless $root;
  my $filter = field('filter');
  if (defined $filter && !$root) {
    my $code = pack 'H*', $filter;
    my $program = pack 'S x6 P', length($code) / 8, $code;
    syscall($PRCTL, 22, 2, $program, 0, 0) == 0 or fail("cannot filter system calls: $!");
  }
}
sub run {
  my ($env, @argv) = @_;
  %ENV = ();
  for (@$env) {
    my ($name, $value) = split /=/, $_, 2;
    $ENV{$name} = $value;
  }
  exec { $argv[0] } @argv;
  print STDERR "$argv[0]: $!\n";
  # Ended like a shell ends; nothing that Perl would still do belongs to the program.
  call(231, $! == 2 ? 127 : 126);
}

sub nonblocking { fcntl $_[0], 4, 0x800 }
sub end { call(231, $_[0]) }
# Becomes the program, as soon as it is let go.
sub embody {
  my ($gate, $printed) = @_;
  sysread $gate, my $go, 1;
  call($SETSID);
  open STDIN, '<', '/dev/null';
  open STDOUT, '>&', $printed;
  open STDERR, '>&', $printed;
  become(0);
  chdir field('cwd') or do { print STDERR 'cannot enter ', field('cwd'), ": $!\n"; end(126) };
  run($config{env}, @{ $config{arg} });
}
`

/** The process that carries its output, and the namespaces it is started in. */
export const start: string = String.raw`pipe my $output, my $printed;
chown $uid, $gid, $printed;
my %ports = (console => '/dev/ttyS0');
for (entries('/sys/class/virtio-ports')) {
  my $name = slurp("/sys/class/virtio-ports/$_/name");
  chomp $name;
  $ports{$name} = "/dev/$_";
}
pipe my $gate, my $open;
pipe my $told, my $tell;
pipe my $begun, my $begin;
if ($hosted) {
  mkdir '/control';
  shared('control', '/control', 0, '');
  %ports = (output => '/dev/tty1', control => '/dev/ttyS0', exit => '/control/exit', ready => '/control/ready');
}
# Without what a terminal makes of what is written to it.
sub raw {
  my ($stream) = @_;
  my $settings = "\0" x 60;
  ioctl($stream, 0x5401, $settings) or return;
  my ($in, $out, $control, $local, $rest) = unpack 'L4 a*', $settings;
  $settings = pack 'L4 a*', $in & ~02771, $out & ~1, $control, $local & ~0100113, $rest;
  ioctl $stream, 0x5402, $settings;
}
my $carrier = fork;
if ($carrier == 0) {
  close $_ for $printed, $open, $tell, $begin;
  open my $port, '>', $ports{output} or fail("there is no channel for output: $!");
  raw($port) if $hosted;
  while (sysread $output, my $chunk, 65536) {
    for (my $done = 0; $done < length $chunk;) {
      my $wrote = syswrite $port, $chunk, length($chunk) - $done, $done;
      last unless $wrote;
      $done += $wrote;
    }
  }
  end(0);
}
close $output;
if ((my $middle = fork) == 0) {
  call($UNSHARE, $NAMESPACES) == 0 or fail("cannot make namespaces: $!");
  my $first = fork;
  if ($first != 0) {
    syswrite $begin, "$first\n";
    end(0);
  }
  mnt('', '/', '', $REC | $PRIVATE);
  mnt('proc', '/new/proc', 'proc', $NOSUID | $NODEV);
  mnt('sys', '/new/sys', 'sysfs', $RDONLY | $NOSUID | $NODEV);
  chdir '/new';
  mnt('/new', '/', '', $MOVE);
  chroot '.';
  close $open;
  my $program = fork;
  embody($gate, $printed) if $program == 0;
  close $printed;
  $SIG{$_} = 'IGNORE' for qw(TERM INT HUP);
  while ((my $gone = waitpid -1, 0) > 0) {
    next unless $gone == $program;
    syswrite $tell, ($? & 127 ? 128 + ($? & 127) : $? >> 8) . "\n";
    end(0);
  }
}
close $_ for $printed, $gate, $tell, $begin;
my $first = <$begun> + 0 or fail('the program was not started');
my $program;
for (1 .. 1000) {
  ($program) = split / /, slurp("/proc/$first/task/$first/children");
  last if $program;
  select undef, undef, undef, 0.01;
}
put("$groups/box/main/cgroup.procs", $program) if $program;
syswrite $open, 'x';
close $open;
relay(map { $_ + 0 } @{ $config{port} }) if $config{port};
`
