#!/usr/bin/env bash
# Runs COMMAND on a real SLURM with accounting, one node, this machine, and stops it all afterwards.
# For Debian 12, as root, no systemd needed:  bash tests/slurm.sh COMMAND...
# Everything lives in $state: a munge, MariaDB or /etc/slurm that is set up here stays as it is.
set -euo pipefail

state=/var/lib/slurm-test                             # made anew by each run, so its first job is job 1
daemons=(slurmd slurmctld slurmdbd mariadbd munged)   # in the order in which they stop
export SLURM_CONF=$state/slurm.conf PATH=$PATH:/usr/sbin:/sbin

fail() { echo "slurm.sh: $*" >&2; exit 1; }
[ $# -gt 0 ] || fail "usage: bash slurm.sh COMMAND..."
[ "$(id -u)" = 0 ] || fail "needs root, as SLURM's daemons do"

# Two at once would share ports, so the second waits. What it starts must not inherit the lock: 9>&-
exec 9>"$state.lock"
flock -w 900 9 || fail "another tests/slurm.sh is still running"

missing=()
for package in slurm-wlm munge slurmdbd mariadb-server; do
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q ' installed$' || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
  get=(env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}")
  { "${get[@]}" || { apt-get update && "${get[@]}"; }; } >"$state.install.log" 2>&1 9>&- \
    || { tail -n 20 "$state.install.log" >&2; fail "could not install ${missing[*]}"; }
fi

until_true() {  # until_true SECONDS COMMAND...
  local end=$((SECONDS + $1)); shift
  until "$@"; do [ $SECONDS -lt $end ] || return 1; sleep 0.2; done
}
# By its executable (Debian's is slurmd-wlm), which a zombie no longer has: containers often reap none.
alive() { [[ $(readlink "/proc/$(cat "$state/$1.pid" 2>/dev/null)/exe") == */"$1"* ]]; }
gone() { ! alive "$1"; }
no_jobs() { [ -z "$(timeout 5 squeue -h 2>/dev/null)" ]; }
idle() { [ "$(timeout 5 sinfo -h -o %T 2>/dev/null)" = idle ]; }

stop() {
  local name
  if alive slurmctld && alive slurmd && ! no_jobs; then   # jobs outlive slurmd, so they go first
    timeout 10 squeue -h -o %A | sort -u | xargs -r timeout 10 scancel || true
    until_true 30 no_jobs || echo "slurm.sh: some jobs did not end" >&2
  fi
  for name in "${daemons[@]}"; do
    alive "$name" || continue
    kill "$(cat "$state/$name.pid")" || true
    until_true 20 gone "$name" || kill -9 "$(cat "$state/$name.pid")" || true
  done
}

start() {
  local host; host=$(hostname -s)
  rm -rf "$state" && mkdir -p "$state"/{ctld,d} && mkdir -m 700 "$state/db"
  (umask 077 && head -c 1024 /dev/urandom >"$state/munge.key")
  cat >"$state/slurm.conf" <<CONF
ClusterName=local
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
# SLURM starts a requeued job only when its old credential has expired: 10 s instead of 120.
AuthInfo=cred_expire=10,socket=$state/munge.socket
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
# Without accounting submitit waits for ever for a cancelled job.
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=localhost
AccountingStoragePass=$state/munge.socket
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
JobRequeue=1
# From SIGTERM to SIGKILL: 3 s instead of 30, for tests that cancel.
KillWait=3
StateSaveLocation=$state/ctld
SlurmdSpoolDir=$state/d
SlurmctldPidFile=$state/slurmctld.pid
SlurmdPidFile=$state/slurmd.pid
SlurmctldLogFile=$state/slurmctld.log
SlurmdLogFile=$state/slurmd.log
NodeName=$host NodeAddr=127.0.0.1 CPUs=$(nproc) RealMemory=$(awk '/^MemAvailable/ {print int($2 / 1024)}' /proc/meminfo) State=UNKNOWN
PartitionName=main Nodes=$host Default=YES MaxTime=INFINITE State=UP
CONF
  (umask 077 && cat >"$state/slurmdbd.conf") <<CONF
DbdHost=localhost
SlurmUser=root
AuthInfo=socket=$state/munge.socket
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=root
PidFile=$state/slurmdbd.pid
LogFile=$state/slurmdbd.log
CONF
  munged --key-file="$state/munge.key" --socket="$state/munge.socket" --pid-file="$state/munged.pid" \
    --seed-file="$state/munge.seed" --log-file="$state/munged.log"
  # No network and no password: only root gets at the database's socket.
  local db=(--no-defaults --user=root --datadir="$state/db" --innodb-log-file-size=8M)
  mariadb-install-db "${db[@]}" --skip-test-db --auth-root-authentication-method=normal >"$state/mariadbd.log" 2>&1
  mariadbd "${db[@]}" --skip-networking --socket="$state/db/socket" --pid-file="$state/mariadbd.pid" \
    >>"$state/mariadbd.log" 2>&1 &
  until_true 30 test -S "$state/db/socket"
  MYSQL_UNIX_PORT=$state/db/socket slurmdbd
  until_true 30 sacctmgr -i add cluster local >"$state/sacctmgr.log" 2>&1
  slurmctld && slurmd && until_true 60 idle
}

trap 'exit 130' INT
trap 'exit 143' TERM
trap stop EXIT
stop   # what a killed run has left
# Not `start || ...`: there bash would ignore set -e in it.
set +e; (trap - EXIT; set -e; start) >/dev/null 9>&-; started=$?; set -e
if [ $started != 0 ]; then
  tail -n 15 "$state"/*.log >&2
  fail "SLURM did not come up; its logs are in $state"
fi

status=0
"$@" 9>&- || status=$?
exit $status
