import { clusterName } from '../ecs/arn.ts';
import { quote } from '../lib/errors.ts';

type Env = Readonly<Record<string, string | undefined>>;

/** The unit's own, and those that checks and the command of `watch --exec` get. */
const NO_FLAGS = /^ROLLCALL_(IMAGE|DOCKER_ARGS|CHECK_RUN|EVENT_\w+)$/;
/** More names make no better line. */
const MAX_NAMES = 5;

/**
 * A line about variables that are misspelt: a flag that no command has ends the agent, but a variable would be ignored
 * without a word. null: there are none. Empty ones count as not set.
 * @param isKnown whether a flag of any command has this variable
 */
export function misspeltVariables(env: Env, isKnown: (name: string) => boolean): string | null {
  const names = Object.keys(env)
    .filter((name) => name.startsWith('ROLLCALL_') && env[name] && !NO_FLAGS.test(name) && !isKnown(name))
    .map((name) => quote(name).slice(1, -1))
    .sort();
  if (names.length === 0) return null;
  const rest = names.length > MAX_NAMES ? ` and ${names.length - MAX_NAMES} more` : '';
  const listed = names.slice(0, MAX_NAMES).join(', ') + rest;
  const have = names.length === 1 ? 'is no variable of rollcall and has' : 'are no variables of rollcall and have';
  return `${listed} ${have} no effect; rollcall agent --help lists them`;
}

/**
 * A line about an `ECS_CLUSTER` that cannot be a cluster, which keeps no node off the roll; null: it can.
 * @param cluster of `--cluster`, which outranks it
 */
export function unusableCluster(env: Env, cluster: string | null): string | null {
  const text = env['ECS_CLUSTER'] ?? '';
  if (text === '' || cluster !== null || clusterName(text) !== undefined) return null;
  return `ECS_CLUSTER ${quote(text)} is not the name or ARN of one ECS cluster and is not used; set --cluster`;
}
