# shellcheck shell=bash disable=SC2034,SC2154
# fleetctl, 0.11 to 1.0. Its exit status proves nothing (1.0 prints its usage and ends with 0), so each answer is checked
# for its form. Flags have two dashes, because 1.0 does not know them with one.

# Finds fleetctl, and whether it can replace a unit in one step, which it can since 0.13.
open_fleet() {
  command -v fleetctl >/dev/null ||
    fail "fleetctl is not installed: put fleetctl 0.11 to 1.0 on the PATH"
  ask fleetctl --version || true
  [ -n "$answer" ] || fail "cannot read fleetctl's version: $(cause); try fleetctl --version"
  [[ $answer =~ ^fleetctl\ version\ v?([0-9]+)\.([0-9]+) ]] ||
    fail "fleetctl --version answered \"$(one_line "$answer")\": expected \"fleetctl version …\"; check that it is fleet's"
  fleet_version=$(one_line "${answer#fleetctl version }")
  can_replace=false
  if [ "${BASH_REMATCH[1]}" -ge 1 ] || [ "${BASH_REMATCH[2]}" -ge 13 ]; then can_replace=true; fi
}

# list_machines FILE : "machine<TAB>ip" of every machine
list_machines() {
  bounded fleetctl list-machines --fields=machine,ip --full --no-legend >"$1" || return 1
  local odd
  odd=$(grep -vEm1 $'^[0-9a-f]{32}\t+[^\t ]+$' "$1") || true
  [ -z "$odd" ] || { echo "fleetctl list-machines answered \"$(one_line "$odd")\" instead of a list" >"$work/stderr"; return 1; }
}

# require_machines FILE : the first contact with fleet; a failure names what to check
require_machines() {
  list_machines "$1" || fail "cannot reach the fleet: $(cause); $(fleet_hint "$(cause)")"
  [ -s "$1" ] || fail "fleet lists no machine; check that fleet.service runs on the hosts, and that this is their fleet"
}

# fleet_hint CAUSE : the next step. fleetctl speaks ssh itself, with a file of known hosts of its own, and asks for an
# unknown key on the terminal, which its calls here do not have.
fleet_hint() {
  local known=${FLEETCTL_KNOWN_HOSTS_FILE:-$HOME/.fleetctl/known_hosts}
  case $1 in
    *'unauthorized host'* | *'Host key verification failed'*)
      echo "run fleetctl list-machines once, check the host's key and accept it, then run this again" ;;
    *'host key mismatch'*)
      echo "the host's key is not the one in $known: if it may have changed, remove that line, run fleetctl list-machines once and accept the new key" ;;
    *SSH_AUTH_SOCK*) echo "start ssh-agent and add a key that the host accepts: eval \"\$(ssh-agent)\"; ssh-add" ;;
    *'unable to authenticate'*)
      echo "add a key that ${FLEETCTL_SSH_USERNAME:-core} on that host accepts to ssh-agent: ssh-add" ;;
    *) echo "check FLEETCTL_TUNNEL or FLEETCTL_ENDPOINT (${FLEETCTL_TUNNEL:-${FLEETCTL_ENDPOINT:-neither is set}})" ;;
  esac
}

# list_again : the machines that fleet lists now into $work/listed, and all that it listed in this run into $work/machines.
# A machine whose fleetd stops leaves the list 30 s later, with its units running or not, and must not leave the count.
list_again() {
  list_machines "$work/listed.new" || return 1
  [ -s "$work/listed.new" ] || { echo 'fleet lists no machine' >"$work/stderr"; return 1; }
  mv "$work/listed.new" "$work/listed"
  awk '!seen[$1]++' "$work/listed" "$work/machines" >"$work/machines.new"
  mv "$work/machines.new" "$work/machines"
}

# list_states FILE : "unit<TAB>machine/ip<TAB>active<TAB>sub" of every unit on every machine
list_states() {
  bounded fleetctl list-units --fields=unit,machine,active,sub --full --no-legend >"$1" || return 1
  local odd
  odd=$(grep -vEm1 $'^[^\t ]+\t+[^\t ]+\t+[a-z-]+\t+[a-z-]+$' "$1") || true
  [ -z "$odd" ] || { echo "fleetctl list-units answered \"$(one_line "$odd")\" instead of a list" >"$work/stderr"; return 1; }
}

# read_unit NAME FILE : writes fleet's text of the unit; an empty file if fleet does not have it
read_unit() {
  if bounded fleetctl cat "$1" >"$2" && grep -q '^\[' "$2"; then return 0; fi
  if grep -q "^Unit $1 not found" "$work/stderr"; then : >"$2"; return 0; fi
  [ -s "$work/stderr" ] || head -1 "$2" >"$work/stderr"
  return 1
}

# wanted_state NAME : the unit's desired state in fleet (inactive, loaded, launched) and whether it is global
wanted_state() {
  local rows odd
  bounded fleetctl list-unit-files --fields=unit,dstate,global --no-legend >"$work/rows" || return 1
  rows=$(<"$work/rows")
  odd=$(grep -vEm1 $'^([^\t ]+\t+[a-z-]+\t+(true|false))?$' <<<"$rows") || true
  if [ -n "$odd" ]; then
    echo "fleetctl list-unit-files answered \"$(one_line "$odd")\" instead of a list" >"$work/stderr"
    return 1
  fi
  awk -v unit="$1" '$1 == unit { print $2, $3 }' <<<"$rows"
}

# fleet_has_same NAME FILE
fleet_has_same() {
  read_unit "$1" "$work/registered" || return 1
  [ "$(tool same "$2" "$work/registered")" = same ]
}

# change ARGS… : calls fleetctl; `said` is its message. The caller checks the effect.
change() {
  local status=0
  bounded fleetctl "$@" >"$work/stdout" || status=$?
  said=$(cause)
  [ $status -eq 0 ] || fail "cannot $1 ${*: -1}: $said"
}

# submit_unit NAME FILE : for a unit that fleet does not have
submit_unit() {
  change submit "$2"
  fleet_has_same "$1" "$2" || fail "fleet has not the submitted text of $1: $said; compare fleetctl cat $1 with $2"
}

# destroy_unit NAME
destroy_unit() {
  change destroy "$1"
  read_unit "$1" "$work/registered" || fail "cannot check whether $1 is destroyed: $(cause)"
  [ ! -s "$work/registered" ] || fail "fleet still has $1 after fleetctl destroy: $said"
}

# replace_unit NAME FILE : in two steps if fleetctl cannot do it in one; in between, fleet stops the unit on every machine
replace_unit() {
  if $can_replace; then
    change start --replace "$2"
    fleet_has_same "$1" "$2" || fail "fleet kept the old $1: $said; compare fleetctl cat $1 with $2"
  else
    destroy_unit "$1"
    step="$1 is destroyed, its new file not submitted"
    submit_unit "$1" "$2"
  fi
}

# start_unit NAME FILE : fleetctl does not wait for a global unit, so only the state "launched" can be checked
start_unit() {
  change start "$2"
  local state
  state=$(wanted_state "$1") || fail "cannot check whether $1 was started: $(cause)"
  case $state in
    'launched true') ;;
    *' false') fail "fleet does not treat $1 as a global unit; check [X-Fleet] in $2" ;;
    *) fail "fleetctl start $1 changed nothing (fleet says \"${state:-no such unit}\"): $said" ;;
  esac
}

# stop_unit NAME
stop_unit() {
  change stop "$1"
  local state
  state=$(wanted_state "$1") || fail "cannot check whether $1 was stopped: $(cause)"
  [[ $state != launched* ]] || fail "fleetctl stop $1 changed nothing: $said"
}
