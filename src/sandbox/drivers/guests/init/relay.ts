/**
 * Leads what comes for the program's ports to it. Last part of the first program, because the others call it.
 *
 * Invariant: a port is open only once the program has opened it, so that whoever asks whether it serves is told the truth.
 */
export const relay: string = String.raw`# Whether anything listens on a port.
sub listens {
  my $end = sprintf ':%04X', $_[0];
  for my $table ('/proc/net/tcp', '/proc/net/tcp6') {
    open my $file, '<', $table or next;
    while (defined(my $line = <$file>)) {
      my @field = split ' ', $line;
      return 1 if $field[3] eq '0A' && substr($field[1], -5) eq $end;
    }
  }
  return 0;
}

# Leads what comes for the program's ports, which it may have opened on its loopback alone, to it.
sub relay {
  my (@wanted) = @_;
  return if fork;
  $SIG{$_} = 'DEFAULT' for qw(CHLD IO);
  $SIG{PIPE} = 'IGNORE';
  my (%listening, %other, %buffer, %stream);
  my %waiting = map { $_ => $wanted[$_] } 0 .. $#wanted;
  my %ended;
  for (;;) {
    for (grep { listens($waiting{$_}) } keys %waiting) {
      socket my $server, 2, 1, 0;
      my $on = pack 'i', 1;
      setsockopt $server, 1, 2, $on;
      my $port = delete $waiting{$_};
      bind $server, pack 'S n C4 x8', 2, 40000 + $_, 10, 0, 2, 15 or next;
      listen $server, 128;
      $listening{ fileno $server } = [$server, $port];
    }
    my ($read, $write) = ('', '');
    vec($read, $_, 1) = 1 for keys %listening;
    for (keys %stream) {
      vec($read, $_, 1) = 1 if !$ended{$_} && length $buffer{ $other{$_} } < 65536;
      vec($write, $_, 1) = 1 if length $buffer{$_};
    }
    next if select($read, $write, undef, %waiting ? 0.1 : undef) < 0;
    for (keys %listening) {
      next unless vec $read, $_, 1;
      my ($server, $port) = @{ $listening{$_} };
      accept my $outer, $server or next;
      socket my $inner, 2, 1, 0;
      connect $inner, pack 'S n C4 x8', 2, $port, 127, 0, 0, 1 or next;
      nonblocking($_) for $outer, $inner;
      my ($o, $i) = (fileno $outer, fileno $inner);
      ($stream{$o}, $stream{$i}, $other{$o}, $other{$i}) = ($outer, $inner, $i, $o);
      ($buffer{$o}, $buffer{$i}, $ended{$o}, $ended{$i}) = ('', '', 0, 0);
    }
    for my $one (keys %stream) {
      my $two = $other{$one};
      next unless defined $two && $stream{$one};
      my $broken = 0;
      if (vec $read, $one, 1) {
        my $count = sysread $stream{$one}, my $chunk, 32768;
        if ($count) { $buffer{$two} .= $chunk }
        elsif (defined $count) { $ended{$one} = 1 }
        elsif ($! != 11) { $broken = 1 }
      }
      if (vec $write, $one, 1) {
        my $wrote = syswrite $stream{$one}, $buffer{$one};
        if ($wrote) { substr $buffer{$one}, 0, $wrote, '' }
        elsif ($! != 11) { $broken = 1 }
      }
      shutdown $stream{$two}, 1 if $ended{$one} == 1 && !length $buffer{$two} && ($ended{$one} = 2);
      if ($broken || ($ended{$one} == 2 && $ended{$two} == 2)) {
        delete $_->{$one}, delete $_->{$two} for \(%stream, %other, %buffer, %ended);
      }
    }
  }
}
`
