# shellcheck shell=bash
# The ECS cluster, through the aws CLI: its own variables and profile decide who asks and where.

# cluster_state NAME : prints ACTIVE, or MISSING where it can be created; fails with the next step
cluster_state() {
  command -v aws >/dev/null ||
    fail "the aws CLI is not installed, so cluster $1 can be neither checked nor created: install it, or pass --skip-cluster"
  # Version 1 of the CLI does not know the variable that everything else of AWS reads.
  if [ -z "${AWS_DEFAULT_REGION:-}" ] && [ -n "${AWS_REGION:-}" ]; then export AWS_DEFAULT_REGION=$AWS_REGION; fi
  local answer
  answer=$(bounded aws ecs describe-clusters --clusters "$1" --query '[clusters[0].status, failures[0].reason]' --output text) ||
    fail "cannot ask ECS for cluster $1: $(cause); mend that (docs/iam/ has the policy), or pass --skip-cluster"
  case $(tr -s '[:space:]' ' ' <<<"$answer") in
    'ACTIVE '*) echo ACTIVE ;;
    'INACTIVE '* | 'None MISSING '*) echo MISSING ;;
    *) fail "ECS says \"$(one_line "$answer")\" about cluster $1: wait until it is ACTIVE, or pass --skip-cluster" ;;
  esac
}

create_cluster() {
  local answer
  answer=$(bounded aws ecs create-cluster --cluster-name "$1" --query cluster.status --output text) ||
    fail "cannot create cluster $1: $(cause); docs/iam/ has the policy, or create it elsewhere and pass --skip-cluster"
  case $answer in
    ACTIVE | PROVISIONING) ;;
    *) fail "ECS answered \"$(one_line "$answer")\" when cluster $1 was created: look with aws ecs describe-clusters" ;;
  esac
}
