#!/usr/bin/env bash
# Make sure that QGIS can be imported by the Python given; install it where apt is there.
set -euo pipefail
python="${1:-/usr/bin/python3}"
missing=""
"$python" -c 'import qgis.core, ensurepip' 2>/dev/null || missing="qgis"
for tool in xvfb-run import xdotool; do
  command -v "$tool" >/dev/null || missing="$missing $tool"
done
[ -z "$missing" ] && exit 0
if ! command -v apt-get >/dev/null; then
  echo "QGIS is not there: '$python' cannot import qgis.core." >&2
  echo "Install QGIS 3.22 or newer and give its Python: make setup QGIS_PYTHON=/path/to/python3" >&2
  exit 1
fi
sudo=""
if [ "$(id -u)" -ne 0 ]; then
  sudo="sudo"
  command -v sudo >/dev/null || { echo "Run as root, or: apt-get install qgis python3-qgis xvfb" >&2; exit 1; }
fi
export DEBIAN_FRONTEND=noninteractive
$sudo apt-get update -qq
$sudo apt-get install -y -qq qgis python3-qgis python3-venv xvfb xdotool imagemagick
