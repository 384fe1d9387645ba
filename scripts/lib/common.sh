# shellcheck shell=bash
# What the scripts share. Source it; it sets nothing but these names.

scripts=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck disable=SC2034 # used by those who source this
repository=$(dirname "$scripts")
# shellcheck disable=SC2034
cache=${GRACCHUS_CACHE:-$HOME/.cache/gracchus}

die() {
  echo "${0##*/}: $*" >&2
  exit 1
}

# Exit code of a thing that cannot be had on this machine, apart from failures.
unavailable=3
cannot_be_had() {
  echo "${0##*/}: cannot be had: $*" >&2
  exit "$unavailable"
}

# usage prints the comment at the top of the script.
usage() {
  awk 'NR > 1 { if (!/^#/) exit; sub(/^# ?/, ""); print }' "$0"
}

# need_command COMMAND PACKAGE installs a Debian package if the command is missing.
need_command() {
  type -P "$1" >/dev/null || install_package "$2"
}

install_package() {
  type -P apt-get >/dev/null || cannot_be_had "$1: there is no apt-get to install it with"
  local as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    sudo -n true 2>/dev/null || cannot_be_had "$1: it takes root to install it"
    as_root=(sudo -n)
  fi
  echo "installing $1" >&2
  if ! "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q "$1" >&2; then
    "${as_root[@]}" apt-get update -q >&2 || cannot_be_had "$1: apt-get update failed"
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q "$1" >&2 || cannot_be_had "$1: apt-get install failed"
  fi
}

# zookeeper_serves PORT asks the ZooKeeper at a port of this machine whether it takes
# clients.
zookeeper_serves() {
  local answer
  answer=$( (exec 3<>"/dev/tcp/127.0.0.1/$1" && printf srvr >&3 && timeout 2 cat <&3) 2>/dev/null)
  [[ $answer == *Mode:* ]]
}

# The JVM of tests starts fast and stays small. The JVM of measurements is set as
# Kafka's own start scripts set it for a broker with 1 GiB.
# shellcheck disable=SC2034 # used by those who source this
jvm_for_tests=(-XX:+UseSerialGC -XX:TieredStopAtLevel=1)
# shellcheck disable=SC2034
jvm_for_measurements=(-server -Xms1g -XX:+UseG1GC -XX:MaxGCPauseMillis=20 -XX:InitiatingHeapOccupancyPercent=35
  -XX:+ExplicitGCInvokesConcurrent -XX:MaxInlineLevel=15)

# class_archive JARS names the file of classes that a JVM of tests maps instead of loading
# them from these jars, if it is there: see archive-classes of scripts/kafka. Each build of
# Java has its own.
class_archive() {
  local java
  java=$(realpath "$(type -P java)") || return 0
  echo "$1-java-$(cksum <"${java%/bin/java}/release" 2>/dev/null | cut -d' ' -f1).jsa"
}

# java_run JVM LEVEL HEAP CLASS ARG... runs a class of Kafka 3.9.2 or ZooKeeper;
# JVM is the name of one of the arrays above. With ARCHIVE_CLASSES=FILE it leaves the
# classes it has loaded in that file when it ends.
java_run() {
  local -n jvm=$1
  local kind=$1 level=$2 heap=$3 jars archive classes=()
  shift 3
  jars=$("$scripts/fetch" kafka) || exit
  archive=$(class_archive "$jars")
  if [ -n "${ARCHIVE_CLASSES:-}" ]; then
    classes=("-XX:ArchiveClassesAtExit=$ARCHIVE_CLASSES")
  elif [ "$kind" = jvm_for_tests ] && [ -e "$archive" ]; then
    classes=("-XX:SharedArchiveFile=$archive")
  fi
  exec java "${jvm[@]}" "${classes[@]}" "-Xmx$heap" -Djava.awt.headless=true "-Dgracchus.log.level=$level" \
    "-Dlog4j.configuration=file:$scripts/lib/log4j.properties" -cp "$jars/*" "$@"
}
