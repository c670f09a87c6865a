# filter_rules.sh add|drop TOOL DEVICE COUNT: put COUNT rules that match nothing into the way of every
# packet of DEVICE, or take them away again. TOOL is iptables-legacy, iptables-nft or ebtables, whose
# rules stand in the chain KVMLAB and are for a bridge; or tc, whose filters are at both hooks of a port.
# 198.18.0.0/15 is the network for benchmarks (RFC 2544), so nobody sends from there.
what=$1 tool=$2 device=$3 count=$4
chain=KVMLAB

each() { # each FORMAT: print FORMAT with two numbers, COUNT times
    number=0
    while [ "$number" -lt "$count" ]; do
        # shellcheck disable=SC2059  # a format
        printf -- "$1\n" $((number / 250)) $((number % 250 + 1))
        number=$((number + 1))
    done
}

add() {
    case $tool in
        tc)
            tc qdisc add dev "$device" clsact || return
            for hook in ingress egress; do
                each "filter add dev $device $hook protocol ip pref 7 u32 match ip src 198.18.%d.%d/32 action drop"
            done | tc -batch -
            ;;
        ebtables)
            ebtables -N "$chain" -P RETURN || return
            {
                echo '*filter'
                each "-A $chain -s 02:00:00:00:%02x:%02x -j DROP"
            } | ebtables-restore --noflush || return
            ebtables -I FORWARD 1 -j "$chain"
            ;;
        *)
            {
                echo '*filter'
                echo ":$chain - [0:0]"
                each "-A $chain -s 198.18.%d.%d/32 -j DROP"
                echo "-I FORWARD 1 -i $device -j $chain"
                echo COMMIT
            } | "$tool-restore" --noflush
            ;;
    esac
}

drop() {
    case $tool in
        tc) tc qdisc del dev "$device" clsact ;;
        ebtables)
            ebtables -D FORWARD -j "$chain"
            ebtables -F "$chain" && ebtables -X "$chain"
            ;;
        *)
            "$tool" -D FORWARD -i "$device" -j "$chain"
            "$tool" -F "$chain" && "$tool" -X "$chain" || return
            # An empty base chain of nftables still looks at every packet; one with rules stays.
            [ "$tool" != iptables-nft ] || "$tool" -X FORWARD 2>/dev/null || true
            ;;
    esac
}

"$what"
