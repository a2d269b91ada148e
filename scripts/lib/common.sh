# shellcheck shell=bash disable=SC2034
# Shared by scripts/deploy and scripts/undeploy, which set `script` and `root` before they source this file.

# Deadline of one call of fleetctl, aws or rollcall: an ssh tunnel may be slow, and a dead one hangs.
readonly CALL_LIMIT_SECONDS=60
readonly POLL_SECONDS=2
readonly UNITS=(amazon-ecs-agent.service rollcall.service)

say() { echo "${script:?}: $*" >&2; }
# The last line has the cause, the next step and what was done, because many users read only that line.
fail() {
  say "$*$(half_done)"
  reported=true
  exit 1
}
reported=false
usage_error() { say "$*; see $script --help"; exit 2; }

# value FLAG COUNT : fails if FLAG has no value
value() { [ "$2" -ge 2 ] || usage_error "$1 needs a value"; }

# seconds FLAG DURATION : the duration in seconds
seconds() {
  local unit=1
  [[ $2 =~ ^([0-9]{1,6})(s|m|h)$ ]] || usage_error "$1 \"$2\" is not a duration; use 90s, 5m or 1h"
  case ${BASH_REMATCH[2]} in m) unit=60 ;; h) unit=3600 ;; esac
  echo $((10#${BASH_REMATCH[1]} * unit))
}

# shown TEXT : one line that is safe to print, of what another program or host says
shown() {
  local LC_ALL=C
  if [[ $1 = *[!\ -~]* ]]; then tool line <<<"$1"; else printf '%s' "$1"; fi
}

# one_line TEXT : the start of an answer, in one line for an error message
one_line() {
  local text
  text=$(tr -s '[:space:]' ' ' <<<"${1:0:400}")
  text=${text:0:80}
  shown "${text% }"
}

# The line on a program's stderr that has the cause. fleetctl prints warnings and a banner before it.
cause() {
  local line
  line=$(grep -im1 -E '^(error|unable|cannot|could not|an error|warning: (unit|can not)|rollcall )' "$work/stderr" ||
    grep -m1 '[^[:space:]#]' "$work/stderr") || line='no output'
  line=$(tr -s '[:space:]' ' ' <<<"${line:0:300}")
  shown "${line% }"
}

# bounded COMMAND… : runs it with a deadline and without stdin; keeps its stderr for `cause`
bounded() {
  local status=0
  timeout --foreground -k 5 $CALL_LIMIT_SECONDS "$@" </dev/null 2>"$work/stderr" || status=$?
  # 137: it did not end at SIGTERM and was killed.
  case $status in 124 | 137) echo "no answer within $CALL_LIMIT_SECONDS s" >"$work/stderr" ;; esac
  return $status
}

# ask COMMAND… : the same; `answer` is its stdout. Through a file and not through $(…), which would wait until all child
# processes close the pipe, such as an ssh that a wrapper started, also after the wrapper was killed.
ask() {
  local status=0
  bounded "$@" >"$work/answer" || status=$?
  answer=$(<"$work/answer")
  return $status
}

plan=()        # "ACTION WHAT", in order
done_so_far=() # finished entries of the plan
current=''     # the entry in progress; after an interruption it may or may not have taken effect
begun=false
step=''        # the state between the two steps of replace_unit

# What was done, if the script ends between the first and the last change.
half_done() {
  if ! $begun || [ ${#done_so_far[@]} -ge ${#plan[@]} ]; then return 0; fi
  local text='nothing'
  if [ ${#done_so_far[@]} -gt 0 ]; then
    printf -v text '%s, ' "${done_so_far[@]}"
    text=${text%, }
  fi
  printf '; done so far: %s%s; run it again to continue' "$text" "${step:+ ($step)}"
}

# carry_out : carries out the plan with the script's own `act ACTION WHAT` and `in_words ACTION WHAT`
carry_out() {
  local entry action what
  begun=true
  for entry in "${plan[@]}"; do
    read -r action what <<<"$entry"
    say "$(in_words "$action" "$what") …"
    current=$entry
    act "$action" "$what"
    current=''
    done_so_far+=("$action $what")
    step=''
  done
}

# All temporary files are in one folder, which is always removed.
leave() {
  local status=$?
  trap - EXIT
  # A second Ctrl-C, or a closed terminal, must not interrupt this.
  trap '' INT TERM HUP PIPE
  [ $status -eq 0 ] || $reported || [ -z "$(half_done)" ] || say "interrupted${current:+ during: $current}$(half_done)"
  rm -rf "$work"
  exit $status
}
begin_work() {
  "${root:?}/scripts/setup"
  work=$(mktemp -d "${TMPDIR:-/tmp}/rollcall-deploy-XXXXXX")
  trap 'exit 130' INT
  trap 'exit 143' TERM
  trap 'exit 129' HUP
  trap leave EXIT
}

# shellcheck source=scripts/lib/node.sh
. "${root:?}/scripts/lib/node.sh"
tool() { "$root/$node" --disable-warning=ExperimentalWarning "$root/scripts/lib/deploy.ts" "$@"; }

# choose_roll STORE : sets how the roll is read; the variable ROLLCALL may set another command
choose_roll() {
  if [ -n "${ROLLCALL:-}" ]; then
    # It may have several lines; read fails at the end of the text.
    read -rd '' -a rollcall <<<"$ROLLCALL" || true
  else
    [ -n "${1:-${ROLLCALL_STORE:-}}" ] ||
      usage_error "no store is set; set --store or ROLLCALL_STORE to the agents' store, etcd://HOST:2379"
    rollcall=("$root/scripts/rollcall")
  fi
  [[ ${1:-${ROLLCALL_STORE:-}} != memory:* ]] ||
    usage_error "memory: is a store inside one process; set --store or ROLLCALL_STORE to the agents' store"
  list=(list)
  [ -z "$1" ] || list+=(--store "$1")
  forget_choices
}

# forget_choices : unsets what an operator's shell may have for other commands. A filter would hide nodes, and a source that
# outranks the store would be another fleet's roll. What is not named here may be such a variable of a later version.
forget_choices() {
  local name
  for name in "${!ROLLCALL_@}"; do
    case $name in
      ROLLCALL_STORE | ROLLCALL_ETCD_* | ROLLCALL_TIMEOUT) ;;
      *) unset "$name" ;;
    esac
  done
}

# read_roll FILE : all nodes as JSON
read_roll() {
  bounded "${rollcall[@]}" "${list[@]}" --all -o json >"$1" || return 1
  cp "$work/stderr" "$work/warnings"
  grep -q '"containerInstances"' "$1" || { echo "the answer is not a roll" >"$work/stderr"; return 1; }
}

# print_warnings : prints the warnings of the last read, such as records that this checkout is too old to read
print_warnings() {
  [ ! -e "$work/warnings" ] || sed -nE '/^(warning|note): /p' "$work/warnings" | while read -r line; do say "$line"; done
}

# confirm QUESTION : asks, unless --yes is set
confirm() {
  local answer
  ! ${yes:?} || return 0
  [ -t 0 ] || fail "nothing done: no terminal to ask for confirmation; check the plan above and run it again with --yes"
  read -rp "$1 [y/N] " answer || true
  case $answer in y | Y | yes) ;; *) fail "nothing done" ;; esac
}
