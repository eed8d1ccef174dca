#!/bin/bash
# build.sh FOLDER puts etcd, kube-apiserver and kube-controller-manager into FOLDER/bin, unless they are there: the first
# from Debian bookworm, the others compiled by bookworm's Go from bookworm's `kubernetes` source package.
#
# It needs apt, dpkg-dev and, while it runs, 3 GB in FOLDER. It needs no root and changes nothing outside FOLDER: apt runs
# on a configuration of its own, reads bookworm from the archive that this machine is set to, and trusts what the archive
# has signed. BUILD_JOBS is how many cores may compile.
set -euo pipefail
folder=$(mkdir -p "$1" && cd "$1" && pwd)
[ -d "$folder/bin" ] && exit
work="$folder/work"
rm -rf "$work"
mkdir -p "$work"/{lists/partial,cache/archives/partial,debian,bin}
cd "$work/debian"

. /etc/os-release
site=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' "Release: $VERSION_CODENAME" 'Component: main' | head -n 1)
for type in deb deb-src; do
  echo "$type [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $site bookworm main"
done > "$work/sources.list"
apt() {
  apt-get --quiet=2 -o Dir::Etc::SourceList="$work/sources.list" -o Dir::Etc::SourceParts=- -o Dir::State::Lists="$work/lists" \
    -o Dir::Cache="$work/cache" -o APT::Sandbox::User="$(id -un)" "$@"
}
apt update
apt download etcd-server golang-1.19-go golang-1.19-src
for package in *.deb; do dpkg-deb --extract "$package" .; done
apt source --download-only kubernetes

export GOROOT="$PWD/usr/lib/go-1.19" GOPATH="$work/go" GOCACHE="$work/go-cache" GO111MODULE=off CGO_ENABLED=0
export GOMAXPROCS="${BUILD_JOBS:=2}" PATH="$PWD/usr/lib/go-1.19/bin:$PATH"
go() { nice "$GOROOT/bin/go" "$@"; }
kubernetes="$GOPATH/src/k8s.io/kubernetes"
mkdir -p "${kubernetes%/*}"
dpkg-source --extract kubernetes_*.dsc "$kubernetes"
cd "$kubernetes"

# The OpenAPI schemas of all API packages are the one generated file that the source package leaves out.
packages=$(grep -rl --include='*.go' '^// *+k8s:openapi-gen=' pkg staging/src/k8s.io \
  | grep -vE 'k8s.io/(code-generator|sample-)' | xargs -n 1 dirname | sort -u \
  | sed 's,^staging/src,vendor,; s,^,k8s.io/kubernetes/,' | paste -sd ,)
go run -p "$BUILD_JOBS" ./vendor/k8s.io/kube-openapi/cmd/openapi-gen --input-dirs "$packages" \
  --output-package k8s.io/kubernetes/pkg/generated/openapi --output-file-base zz_generated.openapi \
  --go-header-file vendor/k8s.io/code-generator/hack/boilerplate.go.txt --report-filename /dev/null

version=v$(sed -n '1s/.*really\([0-9.]*\).*/\1/p' debian/changelog)
for module in client-go/pkg component-base; do
  stamps+=" -X k8s.io/kubernetes/vendor/k8s.io/$module/version.gitVersion=$version"
done
go build -p "$BUILD_JOBS" -ldflags "-s -w $stamps" -o "$work/bin/" ./cmd/kube-apiserver ./cmd/kube-controller-manager
cp "$work/debian/usr/bin/etcd" "$work/bin/"
mv "$work/bin" "$folder/bin"
rm -rf "$work"
