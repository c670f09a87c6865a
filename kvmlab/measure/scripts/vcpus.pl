# Loads programs that count what virtual CPUs do, and keeps them in the kernel while it lives: there is
# nothing to clean up after it. Run as root, its text on standard input: perl - BYTES,BYTES EVENT...
#
# BYTES are the lengths of the one value of each map that the programs write to. It says
# "=== fields EVENT NAME:OFFSET..." of the record of each EVENT (as kvm/kvm_exit), and "=== maps ID,ID".
#
# Then each line on standard input names the programs that are wanted, as HOW:EVENT:CODE, with code in
# hex digits; HOW is raw (a raw tracepoint), record (a tracepoint with its record) or probe (a function).
# Those that are there stay, others go. Or it is "empty NUMBER": that map's value is zero then. It answers
# "=== counting". Instead of any answer it may say "=== refused WHY". It ends with its input.

use strict;
use constant { BPF => 321, PERF_EVENT_OPEN => 298, IOCTL => 16 };    # x86-64
use constant { MAP_CREATE => 0, MAP_UPDATE_ELEM => 2, PROG_LOAD => 5, OBJ_GET_INFO_BY_FD => 15, RAW_TRACEPOINT_OPEN => 17 };
use constant { MAP_ARRAY => 2, KPROBE => 2, TRACEPOINT => 5, RAW_TRACEPOINT => 17 };
use constant { TYPE_TRACEPOINT => 2, CLOSE_ON_EXEC => 8, SET_BPF => 0x40042408, ENABLE => 0x2400 };

$| = 1;
my $tracing = -d "/sys/kernel/tracing/events" ? "/sys/kernel/tracing" : "/sys/kernel/debug/tracing";

sub refused { print "=== refused @_\n"; exit 3; }

sub address { return unpack("Q", pack("P", $_[0])); }    # of the string itself, not of a copy

sub bpf {
    my ($command, $attributes) = @_;
    $attributes .= "\0" x (128 - length $attributes);
    return syscall(BPF, $command, $attributes, 128);
}

sub content {
    my ($path) = @_;
    open(my $file, "<", $path) or refused("$path: $!");
    my $text = <$file>;
    chomp $text;
    return $text;
}

sub kept {    # a descriptor as something that closes itself
    my ($fd) = @_;
    open(my $handle, "+<&=", $fd) or refused("a descriptor: $!");
    return $handle;
}

my @maps;

sub loaded {
    my ($type, $event, $code) = @_;
    # Instructions that point into a map name it by its number, and then by our descriptor.
    for (my $at = 0; $at < length $code; $at += 8) {
        my ($op, $registers) = unpack("CC", substr($code, $at, 2));
        next if $op != 0x18 or $registers >> 4 != 2;
        my $number = unpack("L", substr($code, $at + 4, 4));
        substr($code, $at + 4, 4) = pack("L", fileno $maps[$number]);
    }
    my $license = "Apache-2.0\0";
    my $said    = "\0" x 65536;
    my $fd = bpf(PROG_LOAD, pack("LLQQLLQ", $type, length($code) / 8, address($code),
        address($license), 1, length $said, address($said)));
    return kept($fd) if $fd >= 0;
    my $why = "$!";
    $said =~ s/\0.*//s;
    $said =~ s/\s*\n\s*/; /g;
    refused("the program of $event: $why $said");
}

sub opened_event {    # by the program's kind; the descriptors that keep it attached
    my ($how, $event, $code) = @_;
    if ($how eq "raw") {
        my $program = loaded(RAW_TRACEPOINT, $event, $code);
        my $name    = "$event\0";
        my $fd      = bpf(RAW_TRACEPOINT_OPEN, pack("QL", address($name), fileno $program));
        refused("the tracepoint $event: $!") if $fd < 0;
        return ($program, kept($fd));
    }
    my $function = "$event\0";
    my ($program, $type, $config, $config1);
    if ($how eq "probe") {
        $program = loaded(KPROBE, $event, $code);
        ($type, $config, $config1) =
            (content("/sys/bus/event_source/devices/kprobe/type"), 0, address($function));
    } else {
        $program = loaded(TRACEPOINT, $event, $code);
        ($type, $config, $config1) = (TYPE_TRACEPOINT, content("$tracing/events/$event/id"), 0);
    }
    my $wanted = pack("LLQx40QQ", $type, 112, $config, $config1, 0) . "\0" x 40;
    # A program is called on every CPU, whichever its event is opened on.
    my $fd = syscall(PERF_EVENT_OPEN, $wanted, -1, 0, -1, CLOSE_ON_EXEC);
    refused("the event $event: $!") if $fd < 0;
    my $handle = kept($fd);
    syscall(IOCTL, $fd, SET_BPF, fileno $program) >= 0 or refused("a program at $event: $!");
    syscall(IOCTL, $fd, ENABLE, 0) >= 0 or refused("the event $event: $!");
    return ($program, $handle);
}

sub attached {
    my ($how, $event, $hex) = split(/:/, $_[0]);
    return [opened_event($how, $event, pack("H*", $hex))];
}

sub made {    # a map with one value; the descriptor, and its number in the kernel
    my ($bytes) = @_;
    my $fd = bpf(MAP_CREATE, pack("LLLL", MAP_ARRAY, 4, $bytes, 1));
    refused("a map: $!") if $fd < 0;
    my $info = "\0" x 80;
    bpf(OBJ_GET_INFO_BY_FD, pack("LLQ", $fd, length $info, address($info))) >= 0
        or refused("the number of a map: $!");
    return (kept($fd), unpack("x4L", $info));
}

sub emptied {
    my ($map, $bytes) = @_;
    my ($key, $value) = (pack("L", 0), "\0" x $bytes);
    bpf(MAP_UPDATE_ELEM, pack("LLQQQ", fileno $map, 0, address($key), address($value), 0)) >= 0
        or refused("to empty a map: $!");
}

my ($sizes, @events) = @ARGV;
my @sizes = split(/,/, $sizes);
my $machine = `uname -m`;
chomp $machine;
refused("only x86_64 is known here, this is $machine") if $machine ne "x86_64";
my @ids;
for my $bytes (@sizes) {
    my ($map, $id) = made($bytes);
    push @maps, $map;
    push @ids,  $id;
}
for my $event (@events) {
    open(my $file, "<", "$tracing/events/$event/format") or refused("the event $event: $!");
    print "=== fields $event";
    while (my $line = <$file>) {
        print " $1:$2" if $line =~ /field:.*?(\w+)(?:\[\w*\])?;\s*offset:(\d+)/;
    }
    print "\n";
}
print "=== maps ", join(",", @ids), "\n";
my %attached;
while (my $line = <STDIN>) {
    if ($line =~ /^empty (\d+)$/) {
        emptied($maps[$1], $sizes[$1]);
    } else {
        my %wanted = map { $_ => 1 } split(" ", $line);
        $wanted{$_} or delete $attached{$_} for keys %attached;
        $attached{$_} ||= attached($_) for keys %wanted;
    }
    print "=== counting\n";
}
__END__
