#!/bin/sh
# A mount point in which every path look-up blocks in the kernel, as on a dead network file system.
#
#   sh blocked_mount.sh DIR [unkillable]
#
# prints "ready" and keeps it up until a line or the end of its standard input; what is blocked then
# gets ENOTCONN or ECONNABORTED. It is a FUSE file system whose server never answers; all it needs is
# /dev/fuse and to be root, if only of a user namespace (unshare -Urm).
#
# As it is, a blocked thread sleeps until its process is killed. With "unkillable" the server takes
# one request and keeps it: the thread that made it cannot even be killed.
dir=$1
exec 3<>/dev/fuse || exit 1
mount -i -t fuse -o fd=3,rootmode=40000,user_id=0,group_id=0 nlns-blocked "$dir" || exit 1
trap 'umount -l "$dir"' EXIT

# One FUSE_INIT must be answered before the kernel lets any other request out (linux/fuse.h).
if [ "$2" = unkillable ]; then
  id=$(dd bs=65536 count=1 <&3 2>/dev/null | od -An -v -to1 -j8 -N8 | sed 's/ /\\/g')
  # len 80, error 0, unique; then version 7.31 and zeros. One write(2) must carry it all.
  { printf '\120\0\0\0\0\0\0\0%b\7\0\0\0\37\0\0\0' "$id"; head -c 56 /dev/zero; } |
    dd bs=80 iflag=fullblock >&3 2>/dev/null
  dd bs=65536 count=1 <&3 >/dev/null 2>&1 &
fi
echo ready
read -r _
# Without a server the connection ends, and with it every wait for an answer.
exec 3<&-
[ -z "$!" ] || kill $! 2>/dev/null
exit 0
