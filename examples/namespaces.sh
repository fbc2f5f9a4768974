#!/bin/sh
# Makes network namespaces in a chain, each joined to the next by a veth pair with addresses, says
# "ready" and holds them until its standard input brings a line or ends; then removes them.
#
#     namespaces.sh NAME...
#
# A program that runs this with a pipe needs no clean-up of its own: however it ends, SIGKILL included,
# the pipe ends with it. What would stop this script in between is ignored, so it always gets to its end.
set -eu
trap '' HUP INT PIPE TERM

made=
trap 'for name in $made; do ip netns del "$name"; done' EXIT

# Up to a second after its two ends are up, the kernel notices that a pair has a carrier.
await_up() {
    tries=100
    until ip -n "$1" -br link show "$2" | grep -q ' UP '; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || return 0
        sleep 0.02
    done
}

for name; do
    ip netns add "$name"
    made="$made $name"
    ip -n "$name" link set lo up
done

link=1
while [ $# -gt 1 ]; do
    # Both ends are made where they belong, so the names cannot meet any of the host's.
    ip -n "$1" link add next type veth peer name previous netns "$2"
    ip -n "$1" address add "10.71.$link.1/24" dev next
    ip -n "$2" address add "10.71.$link.2/24" dev previous
    ip -n "$1" address add "fd71:$link::1/64" dev next nodad
    ip -n "$2" address add "fd71:$link::2/64" dev previous nodad
    ip -n "$2" link set previous up
    ip -n "$1" link set next up
    await_up "$1" next
    await_up "$2" previous
    link=$((link + 1))
    shift
done

# It cannot be said to a program that has ended meanwhile.
echo ready 2>/dev/null
read -r _ || true
