#!/usr/bin/env bash
# Runs COMMAND on a real SLURM with accounting: one node, this machine; everything stops with COMMAND.
# For Debian 12, as root, no systemd needed:  bash tests/slurm.sh pytest tests/test_slurm.py
# Nothing is configured outside $state, so a SLURM, munge or MariaDB that is set up here stays as it is.
set -euo pipefail

state=/var/lib/slurm-test   # made anew each time: job 1 is always the first
daemons=(slurmd slurmctld slurmdbd mariadbd munged)   # in the order in which they stop
export SLURM_CONF=$state/slurm.conf PATH=$PATH:/usr/sbin:/sbin

fail() { echo "slurm.sh: $*" >&2; exit 1; }
[ $# -gt 0 ] || fail "usage: bash slurm.sh COMMAND..."
[ "$(id -u)" = 0 ] || fail "needs root: SLURM's daemons start jobs as any user"

# Two at once would share ports: the second waits. COMMAND and the daemons must not inherit the lock.
mkdir -p "$state" && exec 9>"$state.lock"
flock -w 900 9 || fail "another tests/slurm.sh is still running"

packages=()
for package in slurm-wlm munge slurmdbd mariadb-server; do
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q ' installed$' || packages+=("$package")
done
if [ ${#packages[@]} -gt 0 ]; then
  install=(env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${packages[@]}")
  { "${install[@]}" || { apt-get update -q && "${install[@]}"; }; } >"$state.install.log" 2>&1 9>&- \
    || { tail -n 20 "$state.install.log" >&2; fail "apt-get could not install ${packages[*]}"; }
fi

# By its executable (Debian's is slurmd-wlm), which a zombie no longer has: containers often reap none.
alive() { [[ $(readlink "/proc/$(cat "$state/$1.pid" 2>/dev/null)/exe") == */"$1"* ]]; }
# until_true SECONDS COMMAND...
until_true() {
  local end=$((SECONDS + $1)); shift
  until "$@"; do [ $SECONDS -lt $end ] || return 1; sleep 0.2; done
}
no_jobs() { [ -z "$(timeout 5 squeue -h 2>/dev/null)" ]; }
stop() {
  local name
  # Jobs outlive slurmd, so they go first.
  if alive slurmctld && alive slurmd && ! no_jobs; then
    timeout 10 squeue -h -o %A | sort -u | xargs -r timeout 10 scancel || true
    until_true 30 no_jobs || echo "slurm.sh: jobs were still running at the end" >&2
  fi
  for name in "${daemons[@]}"; do
    alive "$name" || continue
    kill "$(cat "$state/$name.pid")" || true
    until_true 20 eval "! alive $name" || kill -9 "$(cat "$state/$name.pid")" || true
  done
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

up() { [ "$(timeout 5 sinfo -h -o %T 2>/dev/null)" = idle ]; }
start() {
  local host; host=$(hostname -s)
  stop   # what a killed run has left
  rm -rf "$state" && mkdir -p "$state"/{db,ctld,d}
  dd if=/dev/urandom of="$state/munge.key" bs=1024 count=1 status=none && chmod 600 "$state/munge.key"
  cat >"$state/slurm.conf" <<CONF
ClusterName=local
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=cred_expire=10,socket=$state/munge.socket
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=localhost
AccountingStoragePass=$state/munge.socket
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
ReturnToService=2
JobRequeue=1
# from SIGTERM to SIGKILL; SLURM's own 30 s would be waited for by every test that cancels
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
  cat >"$state/slurmdbd.conf" <<CONF
DbdHost=localhost
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$state/munge.socket
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=root
PidFile=$state/slurmdbd.pid
LogFile=$state/slurmdbd.log
CONF
  chmod 600 "$state/slurmdbd.conf"   # slurmdbd insists

  munged --key-file="$state/munge.key" --socket="$state/munge.socket" --pid-file="$state/munged.pid" \
    --seed-file="$state/munge.seed" --log-file="$state/munged.log"
  # A database without network and password: only root gets at its socket.
  chmod 700 "$state/db"
  mariadb-install-db --no-defaults --user=root --datadir="$state/db" --skip-test-db \
    --innodb-log-file-size=8M --auth-root-authentication-method=normal >"$state/mariadbd.log" 2>&1
  mariadbd --no-defaults --user=root --datadir="$state/db" --skip-networking --innodb-log-file-size=8M \
    --socket="$state/db/socket" --pid-file="$state/mariadbd.pid" >>"$state/mariadbd.log" 2>&1 &
  until_true 30 test -S "$state/db/socket"
  MYSQL_UNIX_PORT=$state/db/socket slurmdbd
  until_true 30 sacctmgr -i add cluster local >"$state/sacctmgr.log" 2>&1
  slurmctld && slurmd && until_true 60 up
}
# In a condition bash ignores set -e; a subshell that is waited for keeps it.
set +e; (set -e; trap - EXIT; start) 9>&- >/dev/null; started=$?; set -e
if [ $started != 0 ]; then
  tail -n 15 "$state"/*.log >&2
  fail "SLURM did not come up; its logs are in $state"
fi

status=0
"$@" 9>&- || status=$?
exit $status
