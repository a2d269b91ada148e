# shellcheck shell=bash disable=SC2034
# What scripts/deploy and scripts/undeploy share. Whoever sources this sets `script` and `root` first.

# How long one call of fleetctl, aws or rollcall may take: a tunnel over ssh is slow, a dead one hangs for ever.
readonly CALL_LIMIT_SECONDS=60
readonly POLL_SECONDS=2
readonly UNITS=(amazon-ecs-agent.service rollcall.service)

say() { echo "${script:?}: $*" >&2; }
# The last line is all that many people read: it has the cause, the next step, and how far it came.
fail() {
  say "$*$(half_done)"
  reported=true
  exit 1
}
reported=false
usage_error() { say "$*; see $script --help"; exit 2; }

# value FLAG COUNT : fails unless FLAG has a value behind it
value() { [ "$2" -ge 2 ] || usage_error "$1: a value must follow"; }

# seconds FLAG DURATION : the duration in seconds
seconds() {
  local unit=1
  [[ $2 =~ ^([0-9]{1,6})(s|m|h)$ ]] || usage_error "$1 \"$2\" is no duration: write 90s, 5m or 1h"
  case ${BASH_REMATCH[2]} in m) unit=60 ;; h) unit=3600 ;; esac
  echo $((10#${BASH_REMATCH[1]} * unit))
}

# one_line TEXT : the beginning of an answer, fit for an error message
one_line() {
  local text
  text=$(tr -s '[:space:]' ' ' <<<"${1:0:400}")
  text=${text:0:80}
  printf '%s' "${text% }"
}

# What a program said on stderr that names a cause, in one line: fleetctl puts warnings and a banner before it.
cause() {
  local line
  line=$(grep -im1 -E '^(error|unable|cannot|could not|an error|warning: (unit|can not)|rollcall )' "$work/stderr" ||
    grep -m1 '[^[:space:]#]' "$work/stderr") || line='it said nothing'
  line=$(tr -s '[:space:]' ' ' <<<"${line:0:300}")
  printf '%s' "${line% }"
}

# bounded COMMAND… : with a deadline, without stdin, stderr kept for `cause`
bounded() {
  local status=0
  timeout --foreground -k 5 $CALL_LIMIT_SECONDS "$@" </dev/null 2>"$work/stderr" || status=$?
  # 137: it did not even end when it was asked to.
  case $status in 124 | 137) echo "no answer within $CALL_LIMIT_SECONDS s" >"$work/stderr" ;; esac
  return $status
}

# ask COMMAND… : the same, and `answer` is what it said. Through a file, not through $(…): that would wait for whatever
# holds its end of the pipe, as the ssh that a wrapper started, also after the wrapper was ended.
ask() {
  local status=0
  bounded "$@" >"$work/answer" || status=$?
  answer=$(<"$work/answer")
  return $status
}

plan=()        # "ACTION WHAT", in the order in which it is done
done_so_far=() # of the plan
current=''     # of the plan, what is under way: who is interrupted cannot know whether it took effect
begun=false
step=''        # what stands between two states, for the one action that has two steps

# What an operator must know when it ends between the first and the last change.
half_done() {
  if ! $begun || [ ${#done_so_far[@]} -ge ${#plan[@]} ]; then return 0; fi
  local text='nothing of it'
  if [ ${#done_so_far[@]} -gt 0 ]; then
    printf -v text '%s, ' "${done_so_far[@]}"
    text=${text%, }
  fi
  printf '; not all was done, only: %s%s; run it again, it goes on from there' "$text" "${step:+ ($step)}"
}

# carry_out : the plan, through `act ACTION WHAT` and `in_words ACTION WHAT` of who sources this
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

# Everything temporary is in one folder, which goes in any case.
leave() {
  local status=$?
  trap - EXIT
  # A second Ctrl-C, or a terminal that is gone, must not cut this short.
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
tool() { "$root/$node" --disable-warning=ExperimentalWarning "$root/scripts/lib/deploy-tool.ts" "$@"; }

# choose_roll STORE : how the roll is read; the variable ROLLCALL may name another command than this checkout's
choose_roll() {
  if [ -n "${ROLLCALL:-}" ]; then
    read -ra rollcall <<<"$ROLLCALL"
  else
    [ -n "${1:-${ROLLCALL_STORE:-}}" ] ||
      usage_error "no store given: say with --store (or ROLLCALL_STORE) where the agents publish, etcd://HOST:2379"
    rollcall=("$root/scripts/rollcall")
  fi
  [[ ${1:-${ROLLCALL_STORE:-}} != memory:* ]] ||
    usage_error "a store in memory is read by nobody else: say with --store (or ROLLCALL_STORE) where the agents publish"
  list=(list)
  [ -z "$1" ] || list+=(--store "$1")
  # What an operator's shell has for reading would hide nodes from us.
  unset ROLLCALL_CLUSTER ROLLCALL_HEALTH ROLLCALL_FIELDS ROLLCALL_NO_LEGEND ROLLCALL_OUTPUT ROLLCALL_ALL
}

# read_roll FILE : all nodes as JSON
read_roll() {
  bounded "${rollcall[@]}" "${list[@]}" --all -o json >"$1" || return 1
  cp "$work/stderr" "$work/warnings"
  grep -q '"containerInstances"' "$1" || { echo "it answered no roll" >"$work/stderr"; return 1; }
}

# tell_warnings : what was said beside the last roll, as of records that this checkout is too old to read
tell_warnings() {
  [ ! -e "$work/warnings" ] || sed -nE '/^(warning|note): /p' "$work/warnings" | while read -r line; do say "$line"; done
}

# confirm QUESTION : asks unless --yes was given
confirm() {
  local answer
  ! ${yes:?} || return 0
  [ -t 0 ] || fail "nothing done: nobody to ask; look at the plan above and run it again with --yes"
  read -rp "$1 [y/N] " answer || true
  case $answer in y | Y | yes) ;; *) fail "nothing done, as you said" ;; esac
}
