# shellcheck shell=bash
# Sourced by the scripts beside it. `step TITLE COMMAND...` runs a command and prints how long it took;
# `finished TITLE` prints how long the whole script took.

step_title=""
step_started=0
script_started=${EPOCHREALTIME//[.,]/}

# Microseconds since START as "[  12.3 s]". EPOCHREALTIME's decimal sign follows the locale, hence the stripping.
elapsed_since() {
    local tenths=$(( (${EPOCHREALTIME//[.,]/} - $1) / 100000 ))
    printf '[%4d.%d s]' $((tenths / 10)) $((tenths % 10))
}

# The command runs in no `if` and no `||`, so that `set -e` also holds inside functions; the trap reports a failure.
step() {
    step_title=$1
    step_started=${EPOCHREALTIME//[.,]/}
    shift
    printf '           %s ...\n' "$step_title"
    "$@"
    printf '%s %s\n' "$(elapsed_since "$step_started")" "$step_title"
    step_title=""
}

finished() {
    printf '%s %s\n' "$(elapsed_since "$script_started")" "$1"
}

tell_failure() {
    local code=$?
    if [ "$code" -ne 0 ] && [ -n "$step_title" ]; then
        printf '%s FAILED (exit %d): %s\n' "$(elapsed_since "$step_started")" "$code" "$step_title" >&2
    fi
}
trap tell_failure EXIT
