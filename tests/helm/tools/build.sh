#!/usr/bin/env bash
# Builds the tools of the chart's tests into the cache, unless they are there already, and prints the folder.
# The versions are those of go.mod; a changed go.mod or go.sum is another folder.
set -euo pipefail
cd "$(dirname "$0")"

cache=${FOREBAY_TOOLS_CACHE:-$HOME/.cache/forebay}/helm-tools
key=$(cat go.mod go.sum score/go.mod score/go.sum build.sh | sha256sum | cut -c1-16)
done=$cache/$key
mkdir -p "$cache"
exec 9>"$cache/lock"
flock 9
if [[ -d $done ]]; then
  echo "$done"
  exit
fi

command -v go >/dev/null || { echo "the chart's tools need Go 1.26 or newer" >&2; exit 1; }
build=$cache/.building
rm -rf "$build"
mkdir -p "$build/bin"

# A server that isn't stamped calls itself v0.0.0, which no chart's kubeVersion takes.
version=$(sed -n 's/^\tk8s.io\/kubernetes v\([0-9.]*\).*/\1/p' go.mod)
stamp=k8s.io/component-base/version
flags="-s -w -X $stamp.gitVersion=v$version -X $stamp.gitMajor=${version%%.*} -X $stamp.gitMinor=$(cut -d. -f2 <<<"$version")"
export CGO_ENABLED=0

make() { # FOLDER NAME PACKAGE
  echo "building $2 …" >&2
  (cd "$1" && nice -n 5 go build -buildvcs=false -trimpath -ldflags "$flags" -o "$build/bin/$2" "$3")
}
make . kubeconform github.com/yannh/kubeconform/cmd/kubeconform
make . helm-docs github.com/norwoodj/helm-docs/cmd/helm-docs
make . helm helm.sh/helm/v4/cmd/helm
make . helm-unittest github.com/helm-unittest/helm-unittest/cmd/helm-unittest
make . helm3 helm.sh/helm/v3/cmd/helm
make . kwok sigs.k8s.io/kwok/cmd/kwok
make . kube-scheduler k8s.io/kubernetes/cmd/kube-scheduler
make . kube-apiserver k8s.io/kubernetes/cmd/kube-apiserver
make . kube-controller-manager k8s.io/kubernetes/cmd/kube-controller-manager
make score kube-score github.com/zegl/kube-score/cmd/kube-score

mv "$build" "$done"
echo "$done"
