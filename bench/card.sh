#!/usr/bin/env bash
# Everything that a GPU has to answer, in stages: see --help.
set -uo pipefail

usage() {
    cat <<'TEXT'
usage: bench/card.sh [options] RESULTS [STAGE...]

Verify and time everything that runs on a GPU, each stage in a process of its own, and copy what is found to the folder
RESULTS after each: card.jsonl (rows, stored as they are found), card.log (all that was printed) and done (stages that
ended, each with its exit code). Stages that ended well are not run again: call it again to go on where it stopped. A
stage that fails or takes too long does not keep the others from running. At the end it says what was found and how to
read it; exit code 1 where anything was wrong, 2 where time was over before all stages had been run.

It needs numpy, numba, safetensors, torch and triton; ONNX Runtime, typer, rich, scipy and tensorboard for some stages.

  --device DEVICE  cuda (the usual one), cuda:1, or cpu: a dry run of small sizes, without a card
  --limit SECONDS  that a stage may take (540)
  --total SECONDS  after which no further stage begins (none)
  --state FOLDER   where rows are kept between calls (out/card)
  --model MODEL    voice-16k, or the manifest of another
  --rows N,N,...   voices that the capacity stages try
  --list           print the stages and end
PYTHON in the environment is the interpreter that runs it (python3).
TEXT
}

device=cuda limit=540 total=0 state= results= python=${PYTHON:-python3}
arguments=() stages=()
while [ $# -gt 0 ]; do
    case $1 in
    -h | --help) usage && exit 0 ;;
    --device) device=$2 && shift ;;
    --limit) limit=$2 && shift ;;
    --total) total=$2 && shift ;;
    --state) state=$(realpath -m "$2") && shift ;;
    --model | --rows) arguments+=("$1" "$2") && shift ;;
    --list) stages+=(--list) ;;
    -*) echo "no option $1; see --help" >&2 && exit 64 ;;
    *) if [ -z "$results" ]; then results=$(realpath -m "$1"); else stages+=("$1"); fi ;;
    esac
    shift
done
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 70
if [ "${stages[*]-}" = --list ]; then exec "$python" -m bench.gpu --list; fi
[ -n "$results" ] || { usage >&2 && exit 64; }
state=${state:-$PWD/out/card}
mkdir -p "$state" "$results"
touch "$state/done"
[ ${#stages[@]} -gt 0 ] || mapfile -t stages < <("$python" -m bench.gpu --list)
[ ${#stages[@]} -gt 0 ] || exit 70 # what keeps Python from starting has been printed

began=$SECONDS bad=0 left=0
share() { cp -f "$state"/* "$results"/; }
for name in "${stages[@]}"; do
    if grep -qx "$name 0" "$state/done"; then
        echo "$name: done before"
        continue
    fi
    if [ "$total" -gt 0 ] && [ $((SECONDS - began)) -ge "$total" ]; then
        echo "$name: no time left"
        left=1
        continue
    fi
    timeout --kill-after=20 "$limit" "$python" -m bench.gpu "$name" --device "$device" --results "$state" \
        "${arguments[@]}" 2>&1 | tee -a "$state/card.log"
    code=${PIPESTATUS[0]}
    case $code in
    0) ;;
    124 | 137) echo "$name: stopped after $limit s" | tee -a "$state/card.log" && bad=1 ;;
    *) bad=1 ;;
    esac
    echo "$name $code" >> "$state/done"
    share
done
"$python" -m bench.card_results "$state" | tee "$state/summary.txt"
share
echo "results are in $results"
[ $bad -eq 0 ] || exit 1
[ $left -eq 0 ] || exit 2
