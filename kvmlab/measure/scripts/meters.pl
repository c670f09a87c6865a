# The meters of a measurement: eBPF programs that count, the server at the peer's end, and snapshots of
# counters. Run as root, its text on standard input: perl - BYTES,BYTES EVENT...
#
# It stays as long as its input is open. Programs and server end with it: there is nothing to clean up.
# BYTES are the lengths of the one value of each map that programs write to, by the maps' numbers. It
# prints "=== refused WHY" where the kernel takes no maps, "=== fields EVENT NAME:OFFSET..." of the record
# of each EVENT (as kvm/kvm_exit), and "=== end".
#
# Then it takes commands, one a line, words separated by tabs. Each answer ends with the line "=== end";
# "=== refused WHY" in it says that the command could not be followed.
#
#   attach GROUP PROGRAM...     have these programs of the group in the kernel, and no others of it; each is
#                               HOW:EVENT:CODE with code in hex digits. HOW is raw (a raw tracepoint), record
#                               (a tracepoint with its record) or probe (a function)
#   empty MAP                   set the value of a map to zero
#   serve NETNS PROTOCOL PORT WORD...
#                               start the server WORD..., and see it listen in NETNS at PORT (in hex), for
#                               PROTOCOL tcp or udp
#   stop                        end the server; prints "=== server" and the end of what it printed
#   snapshot LABEL NETNS SOURCE...
#   window NETNS DEVICE WAIT WARMUP SECONDS UNTIL SOURCE...
#                               prints "=== ready" when it stands by; waits WAIT seconds for packets on
#                               DEVICE, then WARMUP; takes two snapshots SECONDS apart and prints them, or
#                               "=== no traffic". With UNTIL "server" it waits for the server's end before
#                               it prints: until then nobody need ask for the client's end, which costs
#
# NETNS is the namespace in which packets are counted, "-" for the host's own. A SOURCE is a file, a folder
# of threads (/proc/PID/task), "worker:PID:TID" (a vhost worker, where it is no thread of PID), "server" (the
# threads of the server and its children), "map:NUMBER" or "net" (/proc/net/dev of NETNS). A snapshot
# begins with the moment and prints its files as `tail -v` does.
#
# On a host with one CPU, to start a program is time that the traffic has not: in a window it starts none.

use strict;
use constant { BPF => 321, PERF_EVENT_OPEN => 298, IOCTL => 16 };    # x86-64
use constant { MAP_CREATE => 0, MAP_LOOKUP_ELEM => 1, MAP_UPDATE_ELEM => 2, PROG_LOAD => 5, RAW_TRACEPOINT_OPEN => 17 };
use constant { MAP_ARRAY => 2, KPROBE => 2, TRACEPOINT => 5, RAW_TRACEPOINT => 17 };
use constant { TYPE_TRACEPOINT => 2, CLOSE_ON_EXEC => 8, SET_BPF => 0x40042408, ENABLE => 0x2400 };
use constant { MONOTONIC => 1, NEW_NETNS => 0x40000000, FIFO_RESET_ON_FORK => 0x40000001 };
# A handful of packets is ARP and the handshake, or a straggler of the trial before.
use constant { PACKETS => 12, POLL_SEC => 0.02, LISTEN_SEC => 15, LOG_BYTES => 4000 };

$| = 1;
my $machine = `uname -m`;
chomp $machine;
# clock_gettime, setns, setsid, sched_setscheduler
my %numbers = (x86_64 => [228, 308, 112, 144], aarch64 => [113, 268, 157, 119]);
my ($CLOCK_GETTIME, $SETNS, $SETSID, $SETSCHEDULER) = @{ $numbers{$machine} || [] }
    or die "only x86_64 and aarch64 are known here, this is $machine\n";
my $tracing = -d "/sys/kernel/tracing/events" ? "/sys/kernel/tracing" : "/sys/kernel/debug/tracing";
my $vendor  = -d "/sys/module/kvm_amd" ? "amd" : "intel";
my ($sizes, @events) = @ARGV;
my @sizes = split(/,/, $sizes);

# Snapshots in one go: one that others interrupt is of several moments. Where that is refused they are
# taken as any program reads.
my $priority = pack("l", 1);
syscall($SETSCHEDULER, 0, FIFO_RESET_ON_FORK, $priority);

# --- eBPF

sub address { return unpack("Q", pack("P", $_[0])); }    # of the string itself, not of a copy

sub bpf {
    my ($command, $attributes) = @_;
    $attributes .= "\0" x (128 - length $attributes);
    return syscall(BPF, $command, $attributes, 128);
}

sub line_of {    # the first line of a file
    my ($path) = @_;
    open(my $file, "<", $path) or die "$path: $!\n";
    my $text = <$file>;
    chomp $text;
    return $text;
}

sub handle_of {    # a descriptor as something that closes itself
    my ($fd) = @_;
    open(my $handle, "+<&=", $fd) or die "a descriptor: $!\n";
    return $handle;
}

my @maps;
my $key = pack("L", 0);

sub create_map {    # with one value, and what looks it up
    my ($bytes) = @_;
    my $fd = bpf(MAP_CREATE, pack("LLLL", MAP_ARRAY, 4, $bytes, 1));
    die "a map: $!\n" if $fd < 0;
    my $value = "\0" x $bytes;
    my $map   = { handle => handle_of($fd), bytes => $bytes, value => \$value };
    $map->{lookup} = pack("LLQQQ", $fd, 0, address($key), address($value), 0);
    return $map;
}

sub value_of {
    my ($map) = @_;
    bpf(MAP_LOOKUP_ELEM, $map->{lookup}) >= 0 or die "a map: $!\n";
    return ${ $map->{value} };
}

sub empty_map {
    my ($number) = @_;
    my $map   = $maps[$number] or die "there is no map $number\n";
    my $value = "\0" x $map->{bytes};
    bpf(MAP_UPDATE_ELEM, pack("LLQQQ", fileno $map->{handle}, 0, address($key), address($value), 0)) >= 0
        or die "to empty a map: $!\n";
}

sub load {
    my ($type, $event, $code) = @_;
    # Instructions that point into a map name it by its number, and then by our descriptor.
    for (my $at = 0; $at < length $code; $at += 8) {
        my ($op, $registers) = unpack("CC", substr($code, $at, 2));
        next if $op != 0x18 or $registers >> 4 != 2;
        my $map = $maps[unpack("L", substr($code, $at + 4, 4))] or die "there are no maps\n";
        substr($code, $at + 4, 4) = pack("L", fileno $map->{handle});
    }
    my $license = "Apache-2.0\0";
    my $log     = "\0" x 65536;
    my $fd = bpf(PROG_LOAD, pack("LLQQLLQ", $type, length($code) / 8, address($code),
        address($license), 1, length $log, address($log)));
    return handle_of($fd) if $fd >= 0;
    my $why = "$!";
    $log =~ s/\0.*//s;
    $log =~ s/\s*\n\s*/; /g;
    die "the program of $event: $why $log\n";
}

sub attach {    # a program by its kind; the handles that keep it attached
    my ($how, $event, $hex) = split(/:/, $_[0]);
    my $code = pack("H*", $hex);
    if ($how eq "raw") {
        my $program = load(RAW_TRACEPOINT, $event, $code);
        my $name    = "$event\0";
        my $fd      = bpf(RAW_TRACEPOINT_OPEN, pack("QL", address($name), fileno $program));
        die "the tracepoint $event: $!\n" if $fd < 0;
        return [$program, handle_of($fd)];
    }
    my $function = "$event\0";
    my ($program, $type, $config, $config1);
    if ($how eq "probe") {
        $program = load(KPROBE, $event, $code);
        ($type, $config, $config1) =
            (line_of("/sys/bus/event_source/devices/kprobe/type"), 0, address($function));
    } else {
        $program = load(TRACEPOINT, $event, $code);
        ($type, $config, $config1) = (TYPE_TRACEPOINT, line_of("$tracing/events/$event/id"), 0);
    }
    my $attributes = pack("LLQx40QQ", $type, 112, $config, $config1, 0) . "\0" x 40;
    # A program is called on every CPU, whichever its event is opened on.
    my $fd = syscall(PERF_EVENT_OPEN, $attributes, -1, 0, -1, CLOSE_ON_EXEC);
    die "the event $event: $!\n" if $fd < 0;
    my $handle = handle_of($fd);
    syscall(IOCTL, $fd, SET_BPF, fileno $program) >= 0 or die "a program at $event: $!\n";
    syscall(IOCTL, $fd, ENABLE, 0) >= 0 or die "the event $event: $!\n";
    return [$program, $handle];
}

my %attached;    # by group, then by the word that names the program

sub attach_group {
    my ($group, @programs) = @_;
    my %wanted = map { $_ => 1 } @programs;
    my $there = $attached{$group} ||= {};
    $wanted{$_} or delete $there->{$_} for keys %$there;
    eval {
        $there->{$_} ||= attach($_) for @programs;
        1;
    } or do {
        my $why = $@;
        delete $attached{$group};    # all of them or none
        die $why;
    };
}

# --- Files and the moment

my $time = "\0" x 16;

sub now_ns {
    syscall($CLOCK_GETTIME, MONOTONIC, $time);
    my ($sec, $ns) = unpack("QQ", $time);
    return $sec * 1_000_000_000 + $ns;
}

sub all_of {    # of an open file from its beginning; nothing where it tells of something that has gone
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

my %tables;    # of /proc/net by namespace and name: an open one stays that of its namespace

sub net_table {
    my ($netns, $name) = @_;
    my $table = $tables{"$netns/$name"};
    if (!$table) {
        my ($own, $there);
        if ($netns ne "-") {
            open($own, "<", "/proc/self/ns/net") or die "the namespace of the host: $!\n";
            open($there, "<", "/run/netns/$netns") or die "the namespace $netns: $!\n";
            syscall($SETNS, fileno $there, NEW_NETNS) >= 0 or die "the namespace $netns: $!\n";
        }
        my $is_open = open($table, "<", "/proc/thread-self/net/$name");
        my $why     = "$!";
        !$own or syscall($SETNS, fileno $own, NEW_NETNS) >= 0 or exit 9;    # never stay in there
        $is_open or die "/proc/net/$name: $why\n";
        $tables{"$netns/$name"} = $table;
    }
    return all_of($table);
}

# --- The server

my ($server, $log);

sub runs { return defined $server && waitpid($server, 1) == 0; }    # 1: WNOHANG

sub listens {
    my ($netns, $protocol, $port) = @_;
    my $state = $protocol eq "tcp" ? "0A" : "07";
    return net_table($netns, $protocol) =~ /^\s*\d+: [0-9A-F]+:$port \S+ $state /m;
}

sub serve {
    my ($netns, $protocol, $port, @words) = @_;
    stop_server();
    open($log, "+>", undef) or die "a file for the server's output: $!\n";
    $server = fork;
    defined $server or die "to start the server: $!\n";
    if (!$server) {
        $SIG{$_} = "DEFAULT" for qw(TERM HUP INT PIPE);
        syscall($SETSID);
        open(STDIN,  "<",  "/dev/null");
        open(STDOUT, ">&", $log);
        open(STDERR, ">&", $log);
        exec { $words[0] } @words or do { print "$words[0]: $!\n"; kill "KILL", $$ };
    }
    my $until = now_ns() + LISTEN_SEC * 1e9;
    until (listens($netns, $protocol, $port)) {
        runs() and now_ns() < $until or die "no server: " . stop_server() . "\n";
        pause(POLL_SEC);
    }
}

sub stop_server {    # returns the end of what it printed
    return "" if !defined $server;
    # The group: the server runs under `timeout` in a session of its own. Its number is nobody else's
    # before it has been waited for.
    if (runs()) { kill "TERM", -$server; waitpid($server, 0); }
    undef $server;
    sysseek($log, 0, 0);
    my $text = "";
    1 while sysread($log, $text, 65536, length $text);
    close $log;
    return length $text > LOG_BYTES ? substr($text, -LOG_BYTES()) : $text;
}

END { stop_server(); }
$SIG{$_} = sub { exit 5 } for qw(TERM HUP INT PIPE);

# --- Snapshots

sub threads {
    my ($folder) = @_;
    opendir(my $tasks, $folder) or return;
    return map { ("$folder/$_/schedstat", "$folder/$_/stat") } grep { /^\d/ } readdir $tasks;
}

sub file {    # as tail prints it, nothing where it is not there
    my ($path) = @_;
    my $text = content($path);
    return defined $text ? "==> $path <==\n$text\n" : "";
}

sub source {
    my ($source, $netns) = @_;
    if ($source =~ /^map:(\d+)$/) {
        my $map = $maps[$1] or die "there is no map $1\n";
        return "==> $source <==\n" . unpack("H*", value_of($map)) . "\n";
    }
    return "==> net <==\n" . net_table($netns, "dev") . "\n" if $source eq "net";
    my @folders = ($source);
    if ($source =~ /^worker:(\d+):(\d+)$/) {
        @folders = -d "/proc/$1/task/$2" ? () : ("/proc/$2/task");
    } elsif ($source eq "server") {
        my $children = defined $server ? content("/proc/$server/task/$server/children") : undef;
        @folders = defined $children ? map { "/proc/$_/task" } $server, split(" ", $children) : ();
    } elsif ($source !~ m{/task$}) {
        return file($source);
    }
    return join("", map { file($_) } map { threads($_) } @folders);
}

sub snapshot {
    my ($label, $netns, @sources) = @_;
    my $text = "=== snapshot $label\n==> moment <==\n" . now_ns() . " $vendor\n";
    return join("", $text, map { source($_, $netns) } @sources);
}

sub packets {    # of a device: received, sent
    my ($netns, $device) = @_;
    my ($numbers) = net_table($netns, "dev") =~ /^\s*\Q$device\E:\s*(.*)/m
        or die "there is no device $device in the namespace of the counters\n";
    return (split(" ", $numbers))[1, 9];
}

sub pause {    # ends with our input: nobody is left to talk to
    my ($seconds) = @_;
    return if $seconds <= 0;
    my $input = "";
    vec($input, fileno(STDIN), 1) = 1;
    exit if select($input, undef, undef, $seconds) > 0;
}

sub window {
    my ($netns, $device, $wait, $warmup, $seconds, $end, @sources) = @_;
    my ($received, $sent) = packets($netns, $device);
    snapshot("rehearsal", $netns, @sources);
    my $until = now_ns() + $wait * 1e9;
    print "=== ready\n";
    while (1) {
        my ($in, $out) = packets($netns, $device);
        # At our own end of the cable they leave.
        last if $in - $received >= PACKETS or $out - $sent >= PACKETS;
        return "=== no traffic\n" if now_ns() > $until or defined $server && !runs();
        pause(POLL_SEC);
    }
    pause($warmup);
    my $begin = snapshot("begin", $netns, @sources);
    pause($seconds);
    my $last = snapshot("end", $netns, @sources);
    if ($end eq "server" && defined $server) {
        pause(POLL_SEC) while runs();    # its own `timeout` ends it in any case
    }
    return $begin . $last;
}

# --- Commands

sub lines { my $text = $_[0]; $text =~ s/\n*\z/\n/; return $text; }

my %commands = (
    attach   => sub { attach_group(@_); return "" },
    empty    => sub { empty_map(@_);    return "" },
    serve    => sub { serve(@_);        return "" },
    stop     => sub { return "=== server\n" . lines(stop_server()) },
    snapshot => sub { %opened = (); return snapshot(@_) },
    window   => sub { %opened = (); return window(@_) },
);

sub answer {    # a command's text, or why it could not be followed
    my ($command) = @_;
    my $text = eval { $command->() };
    if (!defined $text) {
        my $why = $@;
        $why =~ s/\s*\n\s*/; /g;
        $text = "=== refused $why\n";
    }
    print "$text=== end\n";
}

answer(sub {
    my $text = "";
    eval {
        $machine eq "x86_64" or die "eBPF is only known of x86_64 here, this is $machine\n";
        push @maps, create_map($_) for @sizes;
        for my $event (@events) {
            open(my $file, "<", "$tracing/events/$event/format") or die "the event $event: $!\n";
            $text .= "=== fields $event";
            while (my $line = <$file>) {
                $text .= " $1:$2" if $line =~ /field:.*?(\w+)(?:\[\w*\])?;\s*offset:(\d+)/;
            }
            $text .= "\n";
        }
        1;
    } or die $@;
    return $text;
});
while (my $line = <STDIN>) {
    chomp $line;
    my ($name, @words) = split(/\t/, $line, -1);
    answer(sub { $commands{$name} or die "there is no command $name\n"; return $commands{$name}->(@words) });
}
__END__
