# Attach a program of XDP to a network interface: perl - DEVICE xdpgeneric|xdpdrv CODE, its text on standard
# input; CODE is the program in hex digits. `ip link set dev DEVICE xdpgeneric|xdpdrv off` takes it away.

use strict;
use Socket;
use constant { BPF => { "x86_64" => 321, "aarch64" => 280 }, PROG_LOAD => 5, PROG_TYPE_XDP => 6 };
use constant { AF_NETLINK => 16, NETLINK_ROUTE => 0, RTM_SETLINK => 19, REQUEST_WITH_ANSWER => 5 };
use constant { IFLA_XDP => 43 | 0x8000, IFLA_XDP_FD => 1, IFLA_XDP_FLAGS => 3 };
use constant { LOG_BYTES => 4000, HEADER_BYTES => 16 };

my ($device, $mode, $hex) = @ARGV;
my $flags = { "xdpgeneric" => 2, "xdpdrv" => 4 }->{$mode} or die "no mode $mode\n";
open(my $file, "<", "/sys/class/net/$device/ifindex") or die "$device: $!\n";
my $index = <$file>;
chomp $index;

sub address { return unpack("Q", pack("P", $_[0])); }    # of the string itself, not of a copy

my $machine = `uname -m`;
chomp $machine;
my $code       = pack("H*", $hex);
my $license    = "GPL\0";
my $log        = "\0" x LOG_BYTES;
my $attributes = pack("LLQQLLQ", PROG_TYPE_XDP, length($code) / 8, address($code), address($license), 1,
    LOG_BYTES, address($log));
$attributes .= "\0" x (128 - length $attributes);
my $program = syscall(BPF->{$machine}, PROG_LOAD, $attributes, 128);
die "the kernel refuses the program: $!\n" . unpack("Z*", $log) if $program < 0;

sub attribute {    # of netlink, padded to four bytes
    my ($type, $value) = @_;
    my $text = pack("SS", 4 + length $value, $type) . $value;
    return $text . "\0" x (-length($text) % 4);
}

my $nested = attribute(IFLA_XDP_FD, pack("l", $program)) . attribute(IFLA_XDP_FLAGS, pack("L", $flags));
my $body   = pack("CCSlLL", 0, 0, 0, $index, 0, 0) . attribute(IFLA_XDP, $nested);
my $header = pack("LSSLL", HEADER_BYTES + length $body, RTM_SETLINK, REQUEST_WITH_ANSWER, 1, 0);
socket(my $socket, AF_NETLINK, SOCK_RAW, NETLINK_ROUTE) or die "netlink: $!\n";
syswrite($socket, $header . $body) or die "netlink: $!\n";
sysread($socket, my $answer, 8192) or die "netlink: $!\n";
my $error = unpack("l", substr($answer, HEADER_BYTES, 4));
if ($error) {
    $! = -$error;
    die "$device does not take the program in mode $mode: $!\n";
}
