import { describeSkew, forAge } from '../record/node-clock.ts';
import type { NodeRecord } from '../record/record.ts';
import type { DrainJson } from './feed.ts';

/** Texts of the page that are not plain values: ages, commands. */

/** Such as `4 s`, `3 min`, `2 h 5 min`, `12 d`; never negative. */
export function ageText(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1_000));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return minutes % 60 === 0 ? `${hours} h` : `${hours} h ${minutes % 60} min`;
  return `${Math.floor(hours / 24)} d`;
}

type OfNode = Pick<NodeRecord, 'ec2InstanceId' | 'clockSkewSeconds'>;

/** How long ago an instant of a record was, which is by its node's clock. @param ec2Ms now on EC2's clock */
export function nodeAgeText(record: OfNode, instant: string, ec2Ms: number): string {
  return ageText(ec2Ms - Date.parse(forAge(record, instant)));
}

/**
 * How long ago a drain began, which is by EC2's clock; one by hand is by the clock of some host. null: not known.
 * @param nowMs by the agent's clock, for want of that host's @param ec2Ms by EC2's
 */
export function drainAgeText({ phase, since }: Pick<DrainJson, 'phase' | 'since'>, nowMs: number, ec2Ms: number) {
  return since === null ? null : ageText((phase === 'manual' ? nowMs : ec2Ms) - Date.parse(since));
}

/** What the ages of a node's instants are worth; null: the node's clock is right. */
export function nodeClockText(record: OfNode): string | null {
  if (record.clockSkewSeconds === null) return "not compared with EC2's; the ages are by it";
  const skew = describeSkew(record);
  return skew && `${skew}; the ages are not by it`;
}

/** The time of day of the reader, with the date if that is another than now. */
export function momentText(atMs: number, nowMs: number): string {
  const [at, now] = [new Date(atMs), new Date(nowMs)];
  const time = at.toLocaleTimeString([], { hourCycle: 'h23' });
  if (at.toDateString() === now.toDateString()) return time;
  return `${at.toLocaleDateString([], { month: 'short', day: 'numeric' })} ${time}`;
}

/**
 * The title of the page, which is all that a reader sees of a hidden tab: it has a number only while that is kept current.
 * @param bad how many nodes are lost or critical @param cluster null for all
 */
export function titleText(phase: string, bad: number, cluster: string | null): string {
  const state = { live: bad === 0 ? '' : `${bad} not well`, paused: 'paused', retrying: 'not connected' }[phase];
  return [state, 'rollcall', cluster].filter(Boolean).join(' · ');
}

/**
 * Why no node is shown: neither a mistyped cluster nor a roll that could not be read may look like an empty store.
 * @param cluster null for all @param isRead whether the page has a roll, however old
 */
export function noNodesText(cluster: string | null, isRead: boolean): string {
  if (!isRead) return 'No roll has been read yet.';
  return cluster === null ? 'No node has registered in this store.' : `No node is in cluster ${cluster}.`;
}

/** A word for a POSIX shell. Records can hold any text, and the commands are copied into a terminal. */
export function shellWord(text: string): string {
  return /^[\w./:@=,+-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

interface Command {
  readonly what: string;
  readonly line: string;
}

interface Subject {
  readonly id: string;
  readonly arn: string | null;
  readonly cluster: string | null;
  readonly address: string | null;
}

/** The commands to look further at a node. @param origin of this agent @param authorized with a token */
export function commandsFor({ id, arn, cluster, address }: Subject, origin: string, authorized: boolean): Command[] {
  const header = authorized ? `-H "Authorization: Bearer $TOKEN" ` : '';
  const all = [
    { what: 'the record, from the store', line: `rollcall show ${shellWord(id)}` },
    {
      what: 'the same from this agent',
      line: `curl -s ${header}${shellWord(`${origin}/v1/containerInstances/${id}`)}`,
    },
    {
      what: 'what happened to it, as far as this agent has it',
      line: `curl -s ${header}${shellWord(`${origin}/v1/containerInstances/${id}/events`)}`,
    },
    { what: 'what happens to nodes of its cluster', line: cluster && `rollcall watch --cluster ${shellWord(cluster)}` },
    {
      what: 'what ECS has of it',
      line:
        arn &&
        cluster &&
        `aws ecs describe-container-instances --cluster ${shellWord(cluster)} --container-instances ${shellWord(arn)}`,
    },
    {
      what: 'what EC2 says of the instance',
      line: id.startsWith('i-') && `aws ec2 describe-instance-status --include-all-instances --instance-ids ${id}`,
    },
    { what: 'a shell, through SSM', line: `aws ssm start-session --target ${shellWord(id)}` },
    {
      what: 'the log of its agent',
      line: address && `ssh -- ${shellWord(address)} journalctl -u rollcall -n 100 --no-pager`,
    },
  ];
  return all.filter((each): each is Command => Boolean(each.line));
}
