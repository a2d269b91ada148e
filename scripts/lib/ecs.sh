# shellcheck shell=bash disable=SC2034,SC2154
# The ECS cluster, through the aws CLI. The CLI's variables and profile set the credentials and the region.

# look_for_cluster NAME : sets `cluster_state` to ACTIVE, or to MISSING if it can be created, and `cluster_region` and
# `cluster_account`; fails with the next step
look_for_cluster() {
  command -v aws >/dev/null ||
    fail "the aws CLI is not installed, so cluster $1 can be neither checked nor created; install it, or use --skip-cluster"
  # Version 1 of the CLI does not read AWS_REGION, unlike all other AWS tools. Exported for all calls, so that the
  # cluster is not checked in one region and created in another.
  if [ -n "${AWS_REGION:-}" ]; then export AWS_DEFAULT_REGION=$AWS_REGION; fi
  ask aws ecs describe-clusters --clusters "$1" --output text \
    --query '[clusters[0].status, failures[0].reason, clusters[0].clusterArn || failures[0].arn]' ||
    fail "cannot read cluster $1 from ECS: $(cause); fix that (docs/iam/ has the policy), or use --skip-cluster"
  local arn
  case $(tr -s '[:space:]' ' ' <<<"$answer") in
    'ACTIVE '*) cluster_state=ACTIVE ;;
    'INACTIVE '* | 'None MISSING '*) cluster_state=MISSING ;;
    *) fail "ECS answers \"$(one_line "$answer")\" for cluster $1; wait until it is ACTIVE, or use --skip-cluster" ;;
  esac
  arn=$(awk '{ print $NF }' <<<"$answer")
  [[ $arn =~ ^arn:[^:]+:ecs:([a-z0-9-]+):([0-9]{12}):cluster/ ]] ||
    fail "the answer of ECS for cluster $1 has no region (\"$(one_line "$answer")\"); check aws ecs describe-clusters, or use --skip-cluster"
  cluster_region=${BASH_REMATCH[1]} cluster_account=${BASH_REMATCH[2]}
}

create_cluster() {
  ask aws ecs create-cluster --cluster-name "$1" --query cluster.status --output text ||
    fail "cannot create cluster $1: $(cause); docs/iam/ has the policy, or create it yourself and use --skip-cluster"
  case $answer in
    ACTIVE | PROVISIONING) ;;
    *) fail "ECS answered \"$(one_line "$answer")\" when cluster $1 was created; check aws ecs describe-clusters" ;;
  esac
}
