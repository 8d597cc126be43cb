#!/usr/bin/env bash
# Shows a detect run in the real QGIS: show-in-qgis.sh RUN_FOLDER OUTPUT_FOLDER
# Leaves change.qgz and change.png in OUTPUT_FOLDER, then opens the project where there is a display.
set -euo pipefail
run=$(realpath "$1")
out=$(realpath "$2")
root=$(realpath "$(dirname "$0")/../..")
size=${CHANGEN2_DEMO_SIZE:-1366x768}
profile=$(mktemp -d)
trap 'rm -rf "$profile"' EXIT

export QGIS_PLUGINPATH="$root/build"
export CHANGEN2_PYTHON="${CHANGEN2_PYTHON:-$root/.venv/bin/python}"

CHANGEN2_DEMO_RUN="$run" CHANGEN2_DEMO_PROJECT="$out/change.qgz" CHANGEN2_DEMO_PICTURE="$out/change.png" \
CHANGEN2_DEMO_SIZE="$size" LC_ALL=C.UTF-8 \
    timeout 180 xvfb-run -a -s "-screen 0 ${size}x24" \
    qgis --noversioncheck --nologo --profiles-path "$profile" --code "$root/build/changen2_qgis/demo.py" \
    >"$out/qgis.log" 2>&1 || { tail -n 20 "$out/qgis.log" >&2; echo "QGIS could not show the result; see $out/qgis.log" >&2; exit 1; }
test -s "$out/change.qgz" && test -s "$out/change.png"
echo "Project: $out/change.qgz"
echo "Picture: $out/change.png"

if [ -n "${DISPLAY:-}${WAYLAND_DISPLAY:-}" ]; then
    qgis --noversioncheck "$out/change.qgz" >/dev/null 2>&1 &
fi
