/**
 * What the first program does while the program runs: answers the supervisor's frames, runs other programs beside it, opens a
 * shell for who types at the console; and tells the exit. Third part of the first program.
 */
export const serve: string = String.raw`# Those who look from outside.
pipe my $wakened, my $waken;
nonblocking($_) for $wakened, $waken;
$SIG{CHLD} = $SIG{IO} = sub { syswrite $waken, 'x' };
$SIG{PIPE} = 'IGNORE';
my ($control, $reply, $connected, $in, $out) = (undef, undef, 0, '', '');
# For reading and writing, without waiting for a line, and not as a terminal of its own.
if (sysopen $control, $ports{control}, 0x902) {
  raw($control) if $hosted;
  fcntl $control, 8, $$;
  fcntl $control, 4, 0x800 | 0x2000;
  # Two pipes where there is nothing that leads both ways.
  if ($ports{answers}) { sysopen $reply, $ports{answers}, 0x902 }
  else { $reply = $control }
  put($ports{ready}, '1') if $ports{ready};
}
my $console;
nonblocking($console) if $ports{console} && open $console, '<', $ports{console};
# By their ids, in sight of what ends them.
%inside = ();
my $over = 0;

sub frame { $out .= pack 'a N N a*', $_[0], $_[1], length $_[2], $_[2] if $connected }

# Starts a program beside the program; the process between them tells its exit.
sub enter {
  my ($id, %order) = @_;
  my ($master, $name, %end);
  if ($order{terminal}) {
    my ($columns, $rows) = split / /, $order{terminal}[0];
    open $master, '+<', "/proc/$first/root/dev/pts/ptmx" or return frame('C', $id, 125);
    my ($number, $zero) = (pack('I', 0), pack('i', 0));
    ioctl $master, 0x40045431, $zero;
    ioctl $master, 0x80045430, $number;
    $name = '/dev/pts/' . unpack 'I', $number;
    chown $uid, $gid, "/proc/$first/root$name";
    resize($master, $columns, $rows);
  } elsif (!$order{console}) {
    for (qw(input output errors)) {
      pipe my $read, my $write;
      chown $uid, $gid, $write;
      # Its end, and the one that stays here.
      $end{$_} = $_ eq 'input' ? [$read, $write] : [$write, $read];
    }
  }
  gather($id);
  my $between = fork;
  if ($between == 0) {
    $SIG{$_} = 'DEFAULT' for qw(CHLD IO PIPE);
    my $line;
    open $line, '+<', '/dev/ttyS0' or end(125) if $order{console};
    my $joining = join_group($id);
    my @spaces;
    for (@SPACES) {
      open my $space, '<', "/proc/$first/ns/$_" or end(125);
      push @spaces, $space;
    }
    for (@spaces) { syscall($SETNS, fileno($_), 0) == 0 or end(125) }
    my $child = fork;
    if ($child == 0) {
      $joining->();
      call($SETSID);
      if (defined $name) { open $line, '+<', $name or end(125) }
      my ($from, $to, $errors) = $line ? ($line) x 3 : map { $end{$_}[0] } qw(input output errors);
      open STDIN, '<&', $from;
      open STDOUT, '>&', $to;
      open STDERR, '>&', $errors;
      if ($line) { my $taken = 1; ioctl STDIN, 0x540e, $taken }
      become($order{console});
      chdir field('cwd');
      run([@{ $config{env} }, @{ $order{env} }], @{ $order{arg} });
    }
    # Nobody but the program and those here may hold its ends, or it would wait for one that never comes.
    close $_ for map { @$_ } values %end;
    close $master if $master;
    waitpid $child, 0;
    my $ended = $? & 127 ? 128 + ($? & 127) : $? >> 8;
    end_rest();
    end($ended);
  }
  my %own = (id => $id, between => $between, sent => 0, waiting => '', killAt => 0);
  if ($master) { @own{qw(input output)} = ($master, $master) }
  elsif (!$order{console}) { $own{$_} = $end{$_}[1] for qw(input output errors) }
  for (qw(input output errors)) { nonblocking($own{$_}) if $own{$_} }
  $own{terminal} = defined $master;
  $inside{$id} = \%own;
}
sub resize {
  my ($terminal, $columns, $rows) = @_;
  my $size = pack 'S4', $rows, $columns, 0, 0;
  ioctl $terminal, 0x5414, $size;
}
sub feed {
  my ($own) = @_;
  return unless $own->{input};
  while (length $own->{waiting}) {
    my $wrote = syswrite $own->{input}, $own->{waiting};
    last if !defined $wrote && $! == 11;
    # Nobody reads it any more: it is taken, so that nobody waits.
    $wrote = length $own->{waiting} unless defined $wrote;
    substr $own->{waiting}, 0, $wrote, '';
    frame('W', $own->{id}, $wrote);
  }
  delete $own->{input} if $own->{closing} && !length $own->{waiting} && !$own->{terminal};
}
sub finish {
  my ($own) = @_;
  return if $own->{output} || $own->{errors} || !defined $own->{code};
  scatter($own->{id});
  frame('C', $own->{id}, $own->{code});
  delete $inside{ $own->{id} };
}
sub forget {
  end_group($_) for grep { $_ } keys %inside;
  for my $id (keys %inside) { delete @{ $inside{$id} }{qw(input output errors)} if $id }
  ($connected, $out) = (0, '');
}
sub answer {
  my ($type, $id, $text) = @_;
  my $own = $inside{$id};
  if ($type eq 'X') { enter($id, parse($text)) }
  elsif ($type eq 'S') { kill $text + 0, $program }
  elsif ($type eq 'N') {
    # Another supervisor: what came before is not for it. Its number says from where on it reads.
    forget();
    $connected = 1;
    frame('N', $id, '');
  }
  elsif ($type eq 'U') { frame('U', $id, usage()) }
  elsif ($type eq 'G') {
    my $content = slurp($text);
    frame('G', $id, substr $content, 0, 60000, '') while length $content;
    frame('G', $id, '');
  }
  elsif ($type eq 'Q') { frame('Q', $id, join "\n", map { (slurp('/proc/kallsyms') =~ /^(\S+ \S $_)$/m) } split / /, $text) }
  elsif (!$own) { return }
  elsif ($type eq 'I') {
    if (length $text) { $own->{waiting} .= $text }
    else { $own->{closing} = 1 }
    feed($own);
  } elsif ($type eq 'W') { $own->{sent} -= $text }
  elsif ($type eq 'R') { resize($own->{output}, split / /, $text) if $own->{terminal} && $own->{output} }
  elsif ($type eq 'K') {
    kill 'HUP', members($id);
    kill 'TERM', members($id);
    $own->{killAt} = time + 2;
  }
}
sub listen_to {
  for (;;) {
    my $count = sysread $control, my $chunk, 65536;
    if (!defined $count) { $connected = 1 if $! == 11; last }
    if ($count == 0) { forget() if $connected; $in = ''; last }
    $connected = 1;
    $in .= $chunk;
    while (length $in >= 9) {
      my ($type, $id, $bytes) = unpack 'a N N', $in;
      last if length $in < 9 + $bytes;
      my $frame = substr $in, 0, 9 + $bytes, '';
      answer($type, $id, substr $frame, 9);
    }
  }
}
sub carry {
  my ($own, $stream, $type) = @_;
  my $count = sysread $own->{$stream}, my $chunk, 32768;
  return if !defined $count && $! == 11;
  if ($count) {
    $own->{sent} += $count;
    return frame($type, $own->{id}, $chunk);
  }
  delete $own->{$stream};
  delete $own->{input} if $own->{terminal};
}
sub bury {
  while ((my $gone = waitpid -1, 1) > 0) {
    my $status = $?;
    buried($gone, $status);
    for my $own (values %inside) {
      next unless $own->{between} == $gone;
      $own->{code} = $status >> 8;
      # What it left behind goes with it, and with that the last who could write.
      end_group($own->{id});
    }
  }
}

listen_to() if $control;
until ($over) {
  my ($read, $write) = ('', '');
  my %streams;
  my $want = sub { my ($bits, $stream) = @_; vec($$bits, fileno $stream, 1) = 1 };
  $want->(\$read, $wakened);
  $want->(\$read, $told);
  $want->(\$read, $control) if $connected;
  $want->(\$write, $reply) if $connected && length $out;
  $want->(\$read, $console) if $console && !$inside{0};
  my $soon = $control && !$connected ? 2 : undef;
  for my $own (values %inside) {
    for (qw(output errors)) { $want->(\$read, $own->{$_}) if $own->{$_} && $own->{sent} < $WINDOW && length $out < $WINDOW }
    $want->(\$write, $own->{input}) if $own->{input} && length $own->{waiting};
    $soon = 0.2 if $own->{killAt} || defined $own->{code};
  }
  my $ready = select $read, $write, undef, $soon;
  ($read, $write) = ('', '') if $ready <= 0;
  if (vec $read, fileno $wakened, 1) { sysread $wakened, my $rest, 4096 }
  bury();
  listen_to() if $control;
  if ($connected && length $out) {
    my $wrote = syswrite $reply, $out;
    substr $out, 0, $wrote, '' if $wrote;
  }
  if ($console && !$inside{0} && vec $read, fileno $console, 1) {
    sysread $console, my $typed, 4096;
    enter(0, console => 1, arg => ['/bin/sh', '-i'], env => ['PS1=guest# ', 'HOME=/', 'TERM=vt100']);
  }
  for my $own (values %inside) {
    for ([output => 'O'], [errors => 'F']) {
      my ($stream, $type) = @$_;
      carry($own, $stream, $type) if $own->{$stream} && vec $read, fileno $own->{$stream}, 1;
    }
    feed($own);
    if ($own->{killAt} && time >= $own->{killAt}) {
      end_group($own->{id});
      $own->{killAt} = 0;
    }
    finish($own);
  }
  $over = 1 if vec $read, fileno $told, 1;
}

# Its end.
my $status = <$told>;
$status = defined $status ? $status + 0 : 137;
end_all();
for (1 .. 200) {
  last if waitpid($carrier, 1) != 0;
  select undef, undef, undef, 0.01;
}
if (open my $exit, '>', $ports{exit}) { syswrite $exit, join(' ', $status, evidence()) . "\n" }
down();
`
