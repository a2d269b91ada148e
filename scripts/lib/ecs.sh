# shellcheck shell=bash disable=SC2034,SC2154
# The ECS cluster, through the aws CLI: its own variables and profile decide who asks and where.

# look_for_cluster NAME : `cluster_state` is ACTIVE, or MISSING where it can be created; `cluster_region` and
# `cluster_account` are those that ECS was asked in; fails with the next step
look_for_cluster() {
  command -v aws >/dev/null ||
    fail "the aws CLI is not installed, so cluster $1 can be neither checked nor created: install it, or pass --skip-cluster"
  # Version 1 of the CLI does not know the variable that everything else of AWS reads. For all calls, or the cluster
  # would be looked for in one region and created in another.
  if [ -n "${AWS_REGION:-}" ]; then export AWS_DEFAULT_REGION=$AWS_REGION; fi
  ask aws ecs describe-clusters --clusters "$1" --output text \
    --query '[clusters[0].status, failures[0].reason, clusters[0].clusterArn || failures[0].arn]' ||
    fail "cannot ask ECS for cluster $1: $(cause); mend that (docs/iam/ has the policy), or pass --skip-cluster"
  local arn
  case $(tr -s '[:space:]' ' ' <<<"$answer") in
    'ACTIVE '*) cluster_state=ACTIVE ;;
    'INACTIVE '* | 'None MISSING '*) cluster_state=MISSING ;;
    *) fail "ECS says \"$(one_line "$answer")\" about cluster $1: wait until it is ACTIVE, or pass --skip-cluster" ;;
  esac
  arn=$(awk '{ print $NF }' <<<"$answer")
  [[ $arn =~ ^arn:[^:]+:ecs:([^:]+):([^:]+):cluster/ ]] ||
    fail "ECS did not say in which region cluster $1 is or would be (\"$(one_line "$answer")\"): see aws ecs describe-clusters, or pass --skip-cluster"
  cluster_region=${BASH_REMATCH[1]} cluster_account=${BASH_REMATCH[2]}
}

create_cluster() {
  ask aws ecs create-cluster --cluster-name "$1" --query cluster.status --output text ||
    fail "cannot create cluster $1: $(cause); docs/iam/ has the policy, or create it elsewhere and pass --skip-cluster"
  case $answer in
    ACTIVE | PROVISIONING) ;;
    *) fail "ECS answered \"$(one_line "$answer")\" when cluster $1 was created: look with aws ecs describe-clusters" ;;
  esac
}
