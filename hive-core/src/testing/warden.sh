# Keeps one server for the process at the other end of the input, and obeys one verb a line. When the lines end, that process
# is gone, however it went; then the server goes, and its folder.
#
# $1: the folder, which is made here, so that there is none without a warden. In it, `start` will be the script that becomes the
# server. $2: the signal that ends the server for good.

folder=$1
ending=$2
server=
# Whoever listens may be gone before it is told anything; that is no reason to go without tidying up.
trap : PIPE
mkdir -m 700 "$folder" || exit 1
exec 3>&1 2>>"$folder/log"

# A process id is used again one day, so the end of the server is also on record.
running() {
    [ -n "$server" ] && [ ! -e "$folder/gone.$server" ] && kill -0 "$server" 2>/dev/null
}

start() {
    # The server belongs to a shell of its own, which alone can wait for it. That shell names it and lets go of the pipe.
    server=$(
        (
            sh "$folder/start" 3>&- </dev/null >>"$folder/log" 2>&1 &
            echo $!
            exec >&3
            wait $!
            : >"$folder/gone.$!"
            echo "ended $!"
        ) &
    )
    echo "started $server"
}

# Kills the server with all its children before anybody can tidy up or start anybody else.
crash() {
    if running; then
        kill -s STOP "$server"
        children=$(cat "/proc/$server/task/$server/children" 2>/dev/null)
        # shellcheck disable=SC2086 # A list of process ids.
        kill -s KILL "$server" $children
        turns=0
        for process in $server $children; do
            # Five seconds of patience; what is not gone by then holds up the next start, which says so.
            while [ -e "/proc/$process/exe" ] && [ $turns -lt 500 ]; do
                turns=$((turns + 1))
                sleep 0.01
            done
        done
    fi
    echo "crashed"
}

finish() {
    if running; then kill -s "$ending" "$server"; fi
    turns=0
    while running; do
        turns=$((turns + 1))
        # Ten seconds of patience.
        if [ $turns -gt 500 ]; then kill -s KILL "$server"; fi
        sleep 0.02
    done
    # A PostgreSQL that was killed leaves a segment of shared memory behind, which its pid file names.
    segment=$(sed -n '7s/.* //p' "$folder/data/postmaster.pid" 2>/dev/null)
    if [ -n "$segment" ]; then ipcrm -m "$segment"; fi
    # Whoever still fills the folder, such as a copy under way, makes the first attempt fail.
    turns=0
    until rm -rf "$folder" || [ $turns -gt 100 ]; do
        turns=$((turns + 1))
        sleep 0.05
    done
}

trap finish EXIT
trap 'exit 1' HUP INT TERM
echo made

while read -r verb argument; do
    case $verb in
    start) start ;;
    signal) if running; then kill -s "$argument" "$server"; fi ;;
    crash) crash ;;
    esac
done
