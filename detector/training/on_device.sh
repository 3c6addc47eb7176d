#!/usr/bin/env bash
# Train both networks where a GPU is lent for a quarter of an hour and little can be sent at once.
#
#   at home:  DATA=data BASE="weights/clip-*.safetensors" DEVSET=data/devset on_device.sh pack
#             -> PARTS/part-NN.tar, each at most 40 MB; send them there, in any order
#   there:    on_device.sh unpack      PARTS/*.tar -> WORK/data; again whenever parts have arrived
#             on_device.sh train       MINUTES for both networks; the same call goes on
#             on_device.sh evaluate    a model folder, its accuracy, its speed on this device
#             on_device.sh collect     RESULTS/results.tar.gz.NN, each at most 15 MB
#   at home:  cat results.tar.gz.* | tar xz
#
# A step that was cut off is called again. Without DEVSET no model is fused: only the two-stream
# network is evaluated, on held-back faces, and CLIP's figures are those of its history.json.
set -euo pipefail

PYTHON=${PYTHON:-python3}
PARTS=${PARTS:-parts}                 # tar files on their way
WORK=${WORK:-runs/on-device}          # data, runs and figures on the device
RESULTS=${RESULTS:-$WORK/results}
MINUTES=${MINUTES:-8}                 # of training: a third two-stream, the rest CLIP
WORKERS=${WORKERS:-$(nproc)}          # processes that forge
PAIRS=${PAIRS:-64}                    # in a batch
GENERATED_PAIRS=${GENERATED_PAIRS:-8000}  # that the second head is fitted on
MANIPULATED_PAIRS=${MANIPULATED_PAIRS:-2000}  # that a part of the first one is fitted on
PER_STYLE=${PER_STYLE:-40}            # faces of each style that the third head is fitted on
VALIDATION_PAIRS=${VALIDATION_PAIRS:-150}
PER_FAMILY=${PER_FAMILY:-40}          # held-back forgeries per family and degradation
SPEED_INPUTS=${SPEED_INPUTS:-photo-12mp clip-10s-720p}
INIT=${INIT:-}                        # of the two-stream network: weights of an earlier run
TUNED=${TUNED:-}                      # of CLIP: tuned.safetensors of an earlier run
TOWER=${TOWER:-}                      # a smaller tower, to rehearse

share() { "$PYTHON" -c "print($MINUTES * $1)"; }

pack() {
    # shellcheck disable=SC2086  # BASE is a pattern
    "$PYTHON" -m detector.training.pack --data "$DATA" --out "$PARTS" \
        ${BASE:+--base $BASE} ${DEVSET:+--devset "$DEVSET"}
}

unpack() {
    mkdir -p "$WORK/data"
    for part in "$PARTS"/part-*.tar; do
        tar xf "$part" -C "$WORK/data"
    done
}

train() {
    local common=(--data "$WORK/data" --workers "$WORKERS" --pairs-per-batch "$PAIRS"
        --validation-pairs "$VALIDATION_PAIRS")
    "$PYTHON" -m detector.training "${common[@]}" --out "$WORK/two-stream" \
        --minutes "$(share 0.33)" ${INIT:+--init "$INIT"}
    "$PYTHON" -m detector.training "${common[@]}" --expert clip --out "$WORK/clip" \
        --minutes "$(share 0.67)" --base "$WORK"/data/base/*.safetensors \
        ${TUNED:+--init "$TUNED"} ${TOWER:+--tower "$TOWER"}
    "$PYTHON" -m detector.training.shipped.generated --base "$WORK"/data/base/*.safetensors \
        --tuned "$WORK/clip/tuned.safetensors" --data "$WORK/data" --cache "$WORK/cache" \
        --pairs "$GENERATED_PAIRS" ${TOWER:+--tower "$TOWER"} \
        --out "$WORK/clip/generated.safetensors"
    "$PYTHON" -m detector.training.shipped.manipulated --base "$WORK"/data/base/*.safetensors \
        --tuned "$WORK/clip/generated.safetensors" --data "$WORK/data" --cache "$WORK/cache" \
        --pairs "$MANIPULATED_PAIRS" ${TOWER:+--tower "$TOWER"} \
        --out "$WORK/clip/manipulated.safetensors"
    "$PYTHON" -m detector.training.shipped.drawn --base "$WORK"/data/base/*.safetensors \
        --tuned "$WORK/clip/manipulated.safetensors" --data "$WORK/data" \
        --per-style "$PER_STYLE" ${TOWER:+--tower "$TOWER"} \
        --out "$WORK/clip/release.safetensors"
}

evaluate() {
    local data=(--data "$WORK/data" --cache "$WORK/cache") devset=()
    [ -d "$WORK/data/devset" ] && devset=(--devset "$WORK/data/devset")
    [ -f "$WORK/model/manifest.json" ] ||
        "$PYTHON" -m detector.release.ship --run "$WORK/two-stream" --out "$WORK/model" \
            "${data[@]}" "${devset[@]}"
    if [ ${#devset[@]} -gt 0 ]; then
        local base=("$WORK"/data/base/*.safetensors)
        "$PYTHON" -m detector.release.fusion --base "${base[@]}" --out "$WORK/model" \
            --tuned "$WORK/clip/release.safetensors" "${data[@]}" "${devset[@]}"
    fi
    "$PYTHON" -m detector.benchmark accuracy --model "$WORK/model" --faces "$WORK/data" \
        --cache "$WORK/cache" --per-family "$PER_FAMILY" --out "$WORK/figures" "${devset[@]}"
    # shellcheck disable=SC2086  # several inputs
    "$PYTHON" -m explain.speed --model "$WORK/model" --inputs $SPEED_INPUTS --threads 1 \
        --cache "$WORK/cache/speed" --out "$WORK/figures"
}

collect() {
    mkdir -p "$RESULTS"
    rm -f "$RESULTS"/results.tar.gz.*
    local found=()
    for path in two-stream clip model figures; do
        [ -e "$WORK/$path" ] && found+=("$path")
    done
    tar cz -C "$WORK" --exclude='clip-vit-b16-*' "${found[@]}" |
        split -b 15M -d - "$RESULTS/results.tar.gz."
}

for step in "$@"; do
    case $step in
        pack | unpack | train | evaluate | collect) "$step" ;;
        *) echo "expected pack, unpack, train, evaluate or collect, but got $step" >&2; exit 2 ;;
    esac
done
