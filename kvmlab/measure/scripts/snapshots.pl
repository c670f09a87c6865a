# Snapshots of counters, printed as `tail -v` prints files: one now, or two inside the traffic.
#
#   perl -e TEXT VCPUS SPLIT SERVER now LABEL FILE...
#   perl -e TEXT VCPUS SPLIT SERVER window DEVICE WAIT WARMUP SECONDS OUT FILE...
#
# VCPUS, SPLIT and DEVICE are those of meters.sh. SERVER is the server's process; standard input its
# /proc/PID/net/dev, opened while it lived. A FILE is printed as it is, a directory by its threads' files;
# "vcpus" is the map, "server" the threads of the server and its children, "-" standard input.
#
# A window says "=== ready" when it stands by. All that it does in the traffic it does itself: on a
# host with one CPU, to start a program is time that the traffic has not. It waits WAIT seconds for
# packets, then WARMUP, and writes two snapshots to OUT, SECONDS apart; none where no packets came.

use strict;
use constant { BPF => 321, CLOCK_GETTIME => 228, MONOTONIC => 1 };    # x86-64
use constant { MAP_LOOKUP_ELEM => 1, MAP_GET_FD_BY_ID => 14 };
# A handful of packets is ARP and the handshake, or a straggler of the trial before.
use constant { PACKETS => 12, POLL_SEC => 0.02 };

my ($vcpus, $split, $server, $mode, @more) = @ARGV;
my ($ids, $place, $list) = split(/:/, $vcpus);
my @tids = split(/,/, $list);

sub bpf {
    my ($command, $attributes) = @_;
    $attributes .= "\0" x (128 - length $attributes);
    return syscall(BPF, $command, $attributes, 128);
}

sub all_of {    # nothing where what it tells of has gone
    my ($file) = @_;
    my $text = "";
    sysseek($file, 0, 0);
    sysread($file, $text, 65536) or return;
    1 while sysread($file, $text, 65536, length $text);
    return $text;
}

# To look a file up takes as long as to read it: what was read once stays open.
my %opened;

sub content {
    my ($path) = @_;
    my $file = $opened{$path};
    $file or open($file, "<", $path) or return;
    $opened{$path} = $file;
    return all_of($file);
}

my $key = pack("L", 0);

sub readable {    # a map by its number: what looks its value up, and where that then is
    my ($id) = @_;
    my $map = bpf(MAP_GET_FD_BY_ID, pack("L", $id));
    my ($bytes) = content("/proc/self/fdinfo/$map") =~ /^value_size:\s+(\d+)/m
        or die "there is no map $id\n";
    my $value = "\0" x $bytes;
    my @at    = map { unpack("Q", pack("P", $_)) } $key, $value;
    return { lookup => pack("LLQQQ", $map, 0, @at), value => \$value };
}

my ($places, $softirqs) = map { readable($_) } split(/,/, $ids);
my $time = "\0" x 16;

sub value_of {
    my ($map) = @_;
    bpf(MAP_LOOKUP_ELEM, $map->{lookup}) >= 0 or die "a map: $!\n";
    return ${ $map->{value} };
}

sub now_ns {
    syscall(CLOCK_GETTIME, MONOTONIC, $time);
    my ($sec, $ns) = unpack("QQ", $time);
    return $sec * 1_000_000_000 + $ns;
}

sub counted {
    my ($now, $value) = (now_ns(), value_of($places));
    my $isa = -d "/sys/module/kvm_amd" ? 2 : 1;
    my $text = "==> vcpus <==\nnow $now\nsplit $split\nisa $isa\n";
    $text .= "softirqs " . unpack("H*", value_of($softirqs)) . "\n" if $split eq "all";
    for my $index (0 .. $#tids) {
        $text .= "$tids[$index] " . unpack("H*", substr($value, $index * $place, $place)) . "\n";
    }
    return $text;
}

sub threads {
    my ($folder) = @_;
    opendir(my $tasks, $folder) or return;
    return map { ("$folder/$_/schedstat", "$folder/$_/stat") } grep { /^\d/ } readdir $tasks;
}

sub named {    # a file as tail prints it, nothing where it is not there
    my ($path) = @_;
    my $text = content($path);
    return defined $text ? "==> $path <==\n$text\n" : "";
}

sub snapshot {
    my ($label, @files) = @_;
    my $text = "=== snapshot $label\n";
    for my $path (@files) {
        if    ($path eq "vcpus") { $text .= counted() }
        elsif ($path eq "-")     { $text .= "==> standard input <==\n" . all_of(\*STDIN) . "\n" }
        elsif ($path eq "server") {
            my @programs = ($server, split(" ", content("/proc/$server/task/$server/children")));
            $text .= join("", map { named($_) } map { threads("/proc/$_/task") } @programs);
        }
        elsif ($path =~ /\/task$/) { $text .= join("", map { named($_) } threads($path)) }
        else                       { $text .= named($path) }
    }
    return $text;
}

sub packets {    # of a device of the server's namespace: received, sent
    my ($device) = @_;
    my ($numbers) = all_of(\*STDIN) =~ /^\s*\Q$device\E:\s*(.*)/m or return (0, 0);
    return (split(" ", $numbers))[1, 9];
}

sub pause { select(undef, undef, undef, $_[0]) if $_[0] > 0 }

if ($mode eq "now") {
    print snapshot(@more);
} else {
    my ($device, $wait, $warmup, $seconds, $out, @files) = @more;
    my ($received, $sent) = packets($device);
    my $until = now_ns() + $wait * 1e9;
    snapshot("rehearsal", @files);
    $| = 1;
    print "=== ready\n";
    while (1) {
        my ($in, $out) = packets($device);
        # At our own end of the cable they leave.
        last if $in - $received >= PACKETS or $out - $sent >= PACKETS;
        exit if now_ns() > $until or !-d "/proc/$server";
        pause(POLL_SEC);
    }
    pause($warmup);
    my $begin = snapshot("begin", @files);
    pause($seconds);
    my $end = snapshot("end", @files);
    open(my $file, ">", $out) or die "$out: $!\n";
    print $file $begin, $end;
    close($file) or die "$out: $!\n";
}
__END__
