#!/usr/bin/env bash
# Brings promtool into the cache, unless it is there already, and prints its folder.
# From Debian's package where there is an apt-get, unpacked and not installed: that takes seconds. Elsewhere it is built
# with Go, which takes minutes. Rules and metrics mean the same to both.
set -euo pipefail
version=0.316.0
cd "$(dirname "$0")"

cache=${FOREBAY_TEST_TOOLS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/forebay}/promtool
folder=$cache/$(sha256sum <promtool.sh | cut -c1-16)
mkdir -p "$cache"
# Whoever comes second waits, and finds it done.
exec 9>"$cache/lock"
flock 9
if [[ -d $folder ]]; then
  echo "$folder"
  exit
fi
# Beside the folder and then renamed: what was cut off must never be taken for the whole.
building=$cache/.building
rm -rf "$building"
mkdir -p "$building/bin" "$building/apt/lists/partial" "$building/apt/archives/partial"

# Lists of our own where the machine's are not there or out of date: to renew those takes root.
own=(-o "Dir::State::lists=$building/apt/lists" -o "Dir::Cache=$building/apt")
download() { (cd "$building/apt" && apt-get download -qq "$@" prometheus) >&2; }

if command -v apt-get >/dev/null; then
  download 2>/dev/null || { apt-get update -qq "${own[@]}" >&2 && download "${own[@]}"; }
  dpkg-deb -x "$building"/apt/prometheus_*.deb "$building/apt/unpacked"
  mv "$building/apt/unpacked/usr/bin/promtool" "$building/bin/"
elif command -v go >/dev/null; then
  CGO_ENABLED=0 GOBIN=$building/bin go install -ldflags '-s -w' "github.com/prometheus/prometheus/cmd/promtool@v$version"
else
  echo "promtool comes from Debian's package or is built with Go: there is neither apt-get nor go" >&2
  exit 1
fi
rm -rf "$building/apt"

mv "$building" "$folder"
echo "$folder"
