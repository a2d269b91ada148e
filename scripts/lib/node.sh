# shellcheck shell=sh disable=SC2034
# `node`: the checkout's own Node 24, as a path below the checkout; `arch`: the machine in the packages' words. Sourced by
# whatever runs that Node. It is taken by the path of its own package: two packages offer a program of that name, one for
# each architecture, and whether node_modules/.bin/node is linked to either differs from one version of npm to another.
case $(uname -sm) in
  'Linux x86_64') arch=x64 ;;
  'Linux aarch64') arch=arm64 ;;
  *)
    echo "rollcall runs on Linux on x86_64 or aarch64, and this is $(uname -sm)" >&2
    exit 1
    ;;
esac
node=node_modules/node-linux-$arch/bin/node
