#!/usr/bin/env bash
# A real Slurm on this machine, for tests: two nodes of one slot each, and a second partition
# that preempts the first. Nothing of a Slurm that may already run here is touched.
#
#   ci/slurm.sh install       Debian's packages, unless Slurm is here
#   ci/slurm.sh start DIR     installs it if need be, starts it, and waits until its nodes are idle;
#                             then `export SLURM_CONF=DIR/slurm.conf`
#   ci/slurm.sh stop DIR      ends what `start` began
#
# Exit code 77: it cannot be had here (not Debian, or not root).
set -euo pipefail
action=${1:?install, start or stop}
if [ "$action" != install ]; then
  dir=${2:?a folder}
  mkdir -p "$dir"
  dir=$(realpath "$dir")
fi

stop() {
  for daemon in "$dir"/slurmd-*.pid "$dir/slurmctld.pid" "$dir/munged.pid"; do
    [ -s "$daemon" ] || continue
    pid=$(cat "$daemon")
    kill "$pid" 2>/dev/null || continue
    # Where nobody reaps what has ended, it stays as a zombie.
    for _ in $(seq 100); do case $(ps -o stat= -p "$pid") in '' | Z*) break ;; esac; sleep 0.1; done
  done
}

install() {
  for program in slurmctld slurmd sbatch munged; do
    command -v "$program" >/dev/null || missing=1
  done
  [ -n "${missing:-}" ] || return 0
  { command -v apt-get && [ "$(id -u)" = 0 ]; } >/dev/null || return 77
  # Debian's packages start no daemon of theirs in the meantime.
  export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
  { apt-get update && apt-get install -y --no-install-recommends slurm-wlm munge; } >&2 || return 77
}

configure() {
  host=$(hostname -s)
  mkdir -p "$dir/state" "$dir/log"
  head -c 1024 /dev/urandom >"$dir/munge.key"
  chmod 400 "$dir/munge.key"
  # Ports of its own, by the folder's name: several of these may run side by side.
  port=$((20000 + 16#$(printf %s "$dir" | md5sum | head -c 6) % 10000))
  touch "$dir/gpu0" "$dir/gpu1" # stand for devices: nothing opens them
  cat >"$dir/gres.conf" <<END
Name=gpu File=$dir/gpu[0-1]
END
  cat >"$dir/slurm.conf" <<END
ClusterName=ovbench
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$port
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
AuthType=auth/munge
AuthInfo=socket=$dir/munge.socket
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobRequeue=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
ReturnToService=2
MpiDefault=none
# Quick to answer and to give up: a test waits for all of it.
SchedulerParameters=sched_interval=1,bf_interval=1,sched_min_interval=100000,batch_sched_delay=1
KillWait=5
MinJobAge=300
OverTimeLimit=0
InactiveLimit=0
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/slurmd-%n.pid
SlurmctldLogFile=$dir/log/slurmctld.log
SlurmdLogFile=$dir/log/slurmd-%n.log
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool-%n
GresTypes=gpu
NodeName=slot1 NodeHostname=$host NodeAddr=127.0.0.1 Port=$((port + 1)) CPUs=1 RealMemory=1000 Gres=gpu:2
NodeName=slot2 NodeHostname=$host NodeAddr=127.0.0.1 Port=$((port + 2)) CPUs=1 RealMemory=1000 Gres=gpu:2
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=1
PartitionName=urgent Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF
END
}

start() {
  install
  configure
  export SLURM_CONF="$dir/slurm.conf"
  munged --force --key-file="$dir/munge.key" --socket="$dir/munge.socket" \
    --pid-file="$dir/munged.pid" --log-file="$dir/log/munged.log" --seed-file="$dir/munge.seed"
  slurmctld
  for node in slot1 slot2; do
    mkdir -p "$dir/spool-$node"
    slurmd -N "$node"
  done
  for _ in $(seq 150); do
    [ "$(sinfo --noheader --Node --partition=main --states=idle 2>/dev/null | wc -l)" = 2 ] && return
    sleep 0.2
  done
  tail -n 20 "$dir"/log/*.log >&2
  stop
  return 1
}

"$action"
