# What the scripts for container engines share: setup-engines, stop-engines, build-worker-image. Sourced, not run.
# shellcheck shell=bash

# Where the engines keep everything, their sockets too. Another folder is another set of engines beside the first.
cache=${XDG_CACHE_HOME:-${HOME:?}/.cache}/fast-flow
state=${FASTFLOW_ENGINES:-$cache/engines}
worker_image=fastflow-worker:test

# A caller may lack the folders of root's programs. The engines get nothing but the usual ones.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
engine_path=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

# What an engine does not answer within this time, in seconds, it does not answer.
answer_limit=20

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }

fail() {
    say "$@"
    exit 1
}

check_root() {
    [[ $(uname -s) == Linux ]] || fail "this works on Linux only, and here is $(uname -s)"
    [[ $EUID -eq 0 ]] || fail "this needs root, for networks, mounts and control groups: try sudo"
}

check_place() {
    # The path goes into configuration files and comes back in lists of mounts, each with a way to quote of its own.
    [[ $state =~ ^/[A-Za-z0-9._/@+-]+$ ]] ||
        fail "the folder $state has characters that are not allowed here: set FASTFLOW_ENGINES to another one"
    # The path of a socket has 107 bytes at most. This is the longest one here.
    local longest=$state/docker/containerd.sock.ttrpc
    [[ ${#longest} -le 107 ]] ||
        fail "the folder $state makes the path of a socket too long: set FASTFLOW_ENGINES to a shorter one"
}

# One at a time, until this script ends. Nothing that outlives it may inherit the descriptor.
lock() {
    mkdir -p "$state"
    # Whoever reaches an engine's socket is root.
    chmod 700 "$state"
    exec 9>"$state/lock"
    flock -w 900 9 || fail "another script has held $state/lock for 15 minutes: 'fuser $state/lock' names it"
}

# Installs packages, of which the list is empty when nothing is missing.
install_packages() { # for what, package...
    local reason=$1
    shift
    [[ $# -gt 0 ]] || return 0
    [[ $EUID -eq 0 ]] || fail "$reason needs $*, and only root can install packages: apt-get install $*"
    command -v apt-get >/dev/null || fail "$reason needs $*, and here is no apt-get to install packages with"
    say "installing $*, which $reason needs"
    mkdir -p "$cache"
    # Without the lock, which a service that a package starts would keep.
    DEBIAN_FRONTEND=noninteractive sh -c '
        apt-get -q -o DPkg::Lock::Timeout=300 update &&
        apt-get -q -o DPkg::Lock::Timeout=300 -y --no-install-recommends install "$@"' \
        sh "$@" </dev/null >"$cache/apt.log" 2>&1 9>&- ||
        fail "apt-get could not install $*: see the end of $cache/apt.log"
}

# Whether a process is one of an engine of ours: a program that engines consist of, which was given the engine's folder.
# The number alone proves nothing, since it may be somebody else's by now.
is_ours() { # pid, folder
    local arguments
    [[ $1 =~ ^[0-9]+$ ]] || return 1
    # A process that has ended, and waits for its parent, has none.
    mapfile -d '' -t arguments 2>/dev/null <"/proc/$1/cmdline" && [[ ${#arguments[@]} -gt 0 ]] || return 1
    case ${arguments[0]##*/} in
    dockerd | containerd | containerd-shim* | podman | conmon | slirp4netns | netavark | aardvark-dns) ;;
    *) return 1 ;;
    esac
    [[ " ${arguments[*]} " == *[\ =]"$2"[\ /]* ]]
}

# What an engine consists of.
engine_processes() { # folder -> pids
    local entry
    for entry in /proc/[0-9]*; do
        ! is_ours "${entry##*/}" "$1" || printf '%s\n' "${entry##*/}"
    done
}

containers() { # folder -> ids
    find "$1"/data/containers "$1"/root/*-containers -mindepth 1 -maxdepth 1 -type d -printf '%f\n' 2>/dev/null |
        grep -xE '[0-9a-f]{64}' || true
}

# What runs in containers, by the control groups, which are named after these: neither the arguments nor the parent of
# such a process say whose it is.
container_processes() { # ids -> pids
    [[ $# -gt 0 ]] || return 0
    grep -lsFf <(printf '%s\n' "$@") /proc/[0-9]*/cgroup | cut -d / -f 3 || true
}

recorded() { # folder, name -> pid
    cat "$1/$2.pid" 2>/dev/null || true
}

is_alive() { # folder, name
    is_ours "$(recorded "$1" "$2")" "$1"
}

# Ends a process of an engine, by force if it takes longer than this.
end_process() { # pid, folder, seconds
    local rounds=$(($3 * 20))
    is_ours "$1" "$2" || return 0
    kill -TERM "$1" 2>/dev/null || true
    while is_ours "$1" "$2"; do
        [[ $rounds -gt 0 ]] || kill -KILL "$1" 2>/dev/null || true
        [[ $rounds -gt -100 ]] || fail "process $1 of $2 has not ended within 5 seconds of SIGKILL"
        rounds=$((rounds - 1))
        sleep 0.05
    done
}

ask() { # socket, path, curl's options...
    local socket=$1 path=$2
    shift 2
    curl --silent --show-error --fail --max-time "$answer_limit" --unix-socket "$socket" "$@" "http://engine$path"
}

answers() { # socket
    [[ -S $1 ]] && ask "$1" /_ping --max-time 5 >/dev/null 2>&1
}

has_network() { # folder
    [[ $(stat --file-system --format %T "$1/netns" 2>/dev/null) == nsfs ]]
}

# A command with an engine's environment, which has nothing of the caller's: no secret, and no temporary folder that
# goes away.
in_environment() { # folder, command...
    local folder=$1 podman=()
    shift
    [[ $folder != "$state/podman" ]] || podman=("CONTAINERS_CONF=$folder/containers.conf"
        "CONTAINERS_STORAGE_CONF=$folder/storage.conf" "CONTAINERS_REGISTRIES_CONF=$folder/registries.conf")
    env -i "PATH=$engine_path" "HOME=${HOME:-/root}" "TMPDIR=$folder/temporary" LANG=C.UTF-8 "${podman[@]}" "$@"
}

# Ends an engine, its containers, and whatever a killed one has left: processes, mounts, control groups, its network.
stop_engine() { # engine
    local engine=$1 folder=$state/$1 socket=$state/$1.sock id pid mount rounds ids
    [[ -d $folder ]] || return 0
    mapfile -t ids < <(containers "$folder")

    # The engine first, as it takes away what only it knows.
    if [[ $engine == docker ]] && answers "$socket"; then
        for id in "${ids[@]}"; do
            ask "$socket" "/containers/$id?force=1&v=1" --request DELETE >/dev/null 2>&1 || true
        done
    elif [[ $engine == podman && -e $folder/storage.conf ]] && has_network "$folder"; then
        in_environment "$folder" nsenter --net="$folder/netns" -- timeout --kill-after=5 60 \
            podman --root "$folder/root" --runroot "$folder/run" rm --all --force --time 0 \
            </dev/null >/dev/null 2>&1 9>&- || true
    fi
    for pid in "$(recorded "$folder" dockerd)" "$(recorded "$folder" podman)" "$(recorded "$folder" containerd)"; do
        end_process "$pid" "$folder" 20
    done

    for pid in $(container_processes "${ids[@]}"); do
        kill -KILL "$pid" 2>/dev/null || true
    done
    # What watches a container ends soon after it.
    for ((rounds = 0; rounds < 40; rounds++)); do
        [[ $(engine_processes "$folder") != "$(recorded "$folder" slirp4netns)" ]] || break
        [[ -n $(engine_processes "$folder") ]] || break
        sleep 0.05
    done
    for pid in $(engine_processes "$folder"); do
        end_process "$pid" "$folder" 1
    done

    awk -v folder="$folder/" 'index($5, folder) == 1 { print $5 }' /proc/self/mountinfo | tac |
        while read -r mount; do
            umount "$mount" 2>/dev/null || umount --lazy "$mount" || true
        done
    for id in "${ids[@]}"; do
        find /sys/fs/cgroup -depth -type d -name "*$id*" -exec rmdir {} + 2>/dev/null || true
    done
    rm -f "$socket" "$folder/netns" "$folder"/*.pid "$folder"/containerd.sock*
}
