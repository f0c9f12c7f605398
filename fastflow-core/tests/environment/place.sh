# Runs a tool in a place of its own: another user, who sees of the laboratory what he is given, and of everything else
# that this machine has, nothing that he could write to.
#
# place.sh ROOT UV DIRECTORY [ro|rw PATH]... -- PROGRAM [ARGUMENT]...
set -eu
root=$1 uv=$2 directory=$3
shift 3

mount -t tmpfs -o mode=755 tmpfs /mnt
mkdir /mnt/laboratory /mnt/bin
mkdir -m 1777 /mnt/tmp
: >/mnt/bin/uv
mount --bind "$uv" /mnt/bin/uv
mount --bind "$root" /mnt/laboratory
mount -t tmpfs -o mode=755 tmpfs "$root"
while [ "$1" != -- ]; do
    access=$1 path=$2
    shift 2
    real=/mnt/laboratory${path#"$root"}
    if [ -d "$real" ]; then
        mkdir -p "$path"
    else
        mkdir -p "${path%/*}"
        : >"$path"
    fi
    mount --bind "$real" "$path"
    if [ "$access" = rw ]; then
        chown 65532:65532 "$path"
    else
        mount -o remount,bind,ro "$path"
    fi
done
shift
umount -l /mnt/laboratory
mount -o remount,ro "$root"
mount -o remount,bind,ro /
cd "$directory"
exec setpriv --reuid 65532 --regid 65532 --clear-groups --no-new-privs --bounding-set=-all --inh-caps=-all "$@"
