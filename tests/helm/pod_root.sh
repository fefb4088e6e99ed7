# Runs one container's command as the kubelet would: in a mount namespace of its own, on a root that can't be written to,
# as an unprivileged user without capabilities. Called under `unshare --mount`:
#   sh pod_root.sh WORK USER GROUP VENV REPO HOSTS WORKDIR [SOURCE TARGET ro|rw]... -- [NAME=VALUE]... COMMAND...
set -eu
work=$1 user=$2 group=$3 venv=$4 repo=$5 hosts=$6 workdir=$7
shift 7
root=$work/root
mkdir -p "$work/upper" "$work/work" "$root"
# The machine's own programs stand for the image's.
mount -t overlay overlay -o "lowerdir=/,upperdir=$work/upper,workdir=$work/work" "$root"
mkdir -p "$root/opt/venv" "$root/opt/forebay" "$root$workdir"
cp "$hosts" "$root/etc/hosts"
# Where Python itself is may be closed to others; this opens the copy alone.
above=$(dirname "$(readlink -f "$venv/bin/python")")
while [ "$above" != / ]; do
  chmod o+x "$root$above"
  above=$(dirname "$above")
done
mount --bind "$venv" "$root/opt/venv"
mount --bind "$repo" "$root/opt/forebay"
mount --rbind /proc "$root/proc"
mount --rbind /dev "$root/dev"
# First the binds that stand still, then the volumes over them.
mount -o remount,bind,ro "$root/opt/venv"
mount -o remount,bind,ro "$root/opt/forebay"
while [ "$1" != -- ]; do
  mkdir -p "$root$2"
  mount --bind "$1" "$root$2"
  if [ "$3" = ro ]; then
    mount -o remount,bind,ro "$root$2"
  fi
  shift 3
done
shift
mount -o remount,bind,ro "$root"
# The signal of a parent that dies is lost with the change of the user, and so it is asked for after it.
exec chroot "$root" setpriv --reuid "$user" --regid "$group" --groups "$group" --no-new-privs --bounding-set=-all \
  --inh-caps=-all setpriv --pdeathsig KILL env --ignore-environment --chdir="$workdir" "$@"
