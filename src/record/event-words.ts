import type { CloudEvent } from './cloud-event.ts';
import type { NodeRecord } from './record.ts';

/**
 * What happened, in a few words, for a terminal and for the board. Text of records is in it as it is: whatever shows it makes
 * it printable.
 */
export function whatHappened({ type, data, revision }: Pick<CloudEvent, 'type' | 'data' | 'revision'>): string {
  if ('instanceIds' in data) {
    const count = data.instanceIds.length;
    return `${count} ${count === 1 ? 'node' : 'nodes'} on the roll at revision ${revision}`;
  }
  if ('vanished' in data) {
    return `${data.vanished} of ${data.nodes} nodes vanished at once; the store or the network may be what failed`;
  }
  if ('returned' in data) return `${data.returned} returned, ${data.lost} lost`;
  if ('kind' in data) return `${data.kind}: ${data.reason}`;
  const { record, previous } = data;
  if (record === null) return previous === null ? '' : 'its last record is no longer kept';
  switch (type.slice(type.lastIndexOf('.') + 1)) {
    case 'lost':
      return `last ${record.health.status}${data.uncertain ? ', uncertain' : ''}`;
    case 'departed':
      return record.departure?.cause ?? '';
    case 'interruption':
      return record.interruption === null
        ? 'the notice is withdrawn'
        : Object.values(record.interruption)
            .filter((part) => part !== null)
            .join(' ');
    case 'health':
      return `${previous === null ? '' : `${previous.health.status} → `}${record.health.status}${reasons(record)}`;
    case 'updated':
      return changedFields(previous, record);
    default:
      return `${record.health.status}${reasons(record)}`;
  }
}

function reasons({ health }: NodeRecord): string {
  const worst = health.checks.filter(({ status }) => status !== 'passing');
  const texts = worst.map(({ name, reason }) => (reason === '' ? name : `${name}: ${reason}`));
  return texts.length === 0 ? '' : `: ${texts.join('; ')}`;
}

/** The fields that have another value, but for those with an event of their own. */
function changedFields(previous: NodeRecord | null, record: NodeRecord): string {
  if (previous === null) return '';
  const names = (Object.keys(record) as (keyof NodeRecord)[]).filter(
    (name) =>
      !['health', 'interruption', 'sidecar'].includes(name) &&
      JSON.stringify(record[name]) !== JSON.stringify(previous[name]),
  );
  return names.join(', ');
}
